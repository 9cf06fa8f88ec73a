// What OpenSSL reads from and writes to.
#include "cylon/wire/tls_wire.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cylon/wire/tls_session.h"

namespace cylon {

namespace {

/// What one read of the stream below takes at most.
constexpr size_t kMostIn = 256 << 10;
/// Records that one write below carries, and what a record is longer than its data: 5 bytes of header, 1 of type, 16 of
/// tag, rounded up, so that news of a key fit in as well.
constexpr size_t kRecords = 16;
constexpr size_t kOverhead = 64;
constexpr size_t kMostOut = kRecords * (kTlsRecord + kOverhead);
/// What OpenSSL has to say while a write is under way. An honest peer asks for new keys once in hours, and each answer
/// has 27 bytes; more is a failure, not more memory.
constexpr size_t kMostAside = 64 << 10;

}  // namespace

BIO* TlsWire::MakeBio() {
  static const auto of = [](BIO* bio) { return static_cast<TlsWire*>(BIO_get_data(bio)); };
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cylon stream");
    BIO_meth_set_read(method, [](BIO* bio, char* into, int size) { return of(bio)->Take(bio, into, size); });
    BIO_meth_set_write(method, [](BIO* bio, const char* bytes, int size) { return of(bio)->Put(bytes, size); });
    BIO_meth_set_ctrl(method, [](BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1L : 0L; });
    return method;
  }();
  BIO* bio = BIO_new(kMethod);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  return bio;
}

int TlsWire::Take(BIO* bio, void* into, int size) {
  BIO_clear_retry_flags(bio);
  if (in_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t count = std::min(static_cast<size_t>(size), in_.size());
  std::memcpy(into, in_.data(), count);
  in_ = in_.subspan(count);
  return static_cast<int>(count);
}

int TlsWire::Put(const void* bytes, int size) {
  const auto count = static_cast<size_t>(size);
  const auto* first = static_cast<const uint8_t*>(bytes);
  if (sending_ || !aside_.empty() || out_.size() + count > kMostOut) {
    if (aside_.size() + count > kMostAside) {
      flooded_ = true;
      return -1;
    }
    aside_.insert(aside_.end(), first, first + count);
  } else {
    out_.insert(out_.end(), first, first + count);
  }
  return size;
}

std::span<uint8_t> TlsWire::Space() {
  if (!many_) {
    large_in_.reset();
    return small_in_;
  }
  if (large_in_ == nullptr) {
    large_in_ = std::make_unique_for_overwrite<uint8_t[]>(kMostIn);
  }
  return {large_in_.get(), kMostIn};
}

void TlsWire::Came(std::span<uint8_t> space, size_t count) {
  in_ = space.first(count);
  many_ = count >= kSmall;
}

bool TlsWire::HasRoom() const { return out_.size() + kTlsRecord + kOverhead <= kMostOut; }

void TlsWire::BeginSending() {
  sent_much_ = sent_much_ || out_.size() > kSmall;
  sending_ = true;
}

void TlsWire::Sent() {
  sending_ = false;
  // Before anything else: answers were encrypted before what comes next.
  out_.assign(aside_.begin(), aside_.end());
  aside_.clear();
}

void TlsWire::DropAll() {
  out_.clear();
  aside_.clear();
}

bool TlsWire::Rest() {
  if (sending_ || !out_.empty() || std::exchange(sent_much_, false)) {
    return false;
  }
  out_ = {};
  return true;
}

}  // namespace cylon
