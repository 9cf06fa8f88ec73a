/// What OpenSSL reads from and writes to: memory, between it and the stream below.
#pragma once

#include <openssl/bio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace cylon {

/// OpenSSL never waits for it. Small while little goes over it: of ten thousand sessions at a server most wait for
/// their next small message, and each pair of large buffers with a page touched in either costs 8 KiB.
class TlsWire {
 public:
  /// For TlsSession::SetWire; lives no longer than this.
  BIO* MakeBio();

  // From below.

  /// Where the next bytes go: much where the last ones were many. What was here before has to be taken.
  std::span<uint8_t> Space();
  void Came(std::span<uint8_t> space, size_t count);
  /// What OpenSSL has not taken yet.
  std::span<const uint8_t> in() const { return in_; }

  // To below.

  /// What is to be written next.
  const std::vector<uint8_t>& out() const { return out_; }
  /// Whether `out` may take another record, of the largest kind.
  bool HasRoom() const;
  /// `out` is being written from now on, so that what OpenSSL has to say meanwhile (alerts, answers to new keys) waits
  /// aside; it is next when that is done.
  void BeginSending();
  void Sent();
  bool sending() const { return sending_; }
  /// All that OpenSSL has written, and that nobody has sent.
  std::vector<std::span<const uint8_t>> All() const { return {out_, aside_}; }
  void DropAll();
  void DropOut() { out_.clear(); }
  /// More was to wait aside than an honest peer makes OpenSSL say.
  bool flooded() const { return flooded_; }

  /// It may be long until anything comes. True where nothing is under way, and then `out` has let go of its memory:
  /// not where much was sent since the last rest.
  bool Rest();

 private:
  static constexpr size_t kSmall = 1 << 10;

  int Take(BIO* bio, void* into, int size);
  int Put(const void* bytes, int size);

  std::array<uint8_t, kSmall> small_in_;
  std::unique_ptr<uint8_t[]> large_in_;
  bool many_ = false;            // bytes came last time
  std::span<const uint8_t> in_;  // the part of either that OpenSSL has not taken yet

  std::vector<uint8_t> out_;
  std::vector<uint8_t> aside_;
  bool sending_ = false;
  bool sent_much_ = false;  // since the last rest
  bool flooded_ = false;
};

}  // namespace cylon
