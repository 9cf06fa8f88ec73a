/// What processes tell each other through a server before they can reach each other, sealed.
#pragma once

#include <arrow/result.h>
#include <arrow/util/future.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/base/executor.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/bootstrap/nap.h"
#include "cylon/net/mail/seal.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// Of an attempt, and of a relay's token.
inline constexpr size_t kAttemptBytes = 16;

enum class LetterKind : uint8_t {
  kCall = 1,    ///< "dial me, I listen": who calls nominates
  kAnswer = 2,  ///< to a call: "I do"
  kRelay = 3,   ///< "meet me at the relay"
};

///   kind (1) | attempt (16) | milliseconds left (4) | flags (1) | candidates
///
/// Flags: 1 the sender's gateway is symmetric; 2 it does not try; 4 by a fresh port.
struct Letter {
  LetterKind kind = LetterKind::kCall;
  std::string attempt;  ///< kAttemptBytes that the caller has drawn: a secret of the two
  Duration left{};      ///< until the caller gives up: no clock is compared with another
  bool symmetric = false;
  bool declined = false;
  bool fresh = false;  ///< a second round: not by the port that the process uses for all others
  std::vector<HostPort> candidates = {};
};

/// At most 10 minutes of `left` are told. Decoding is Invalid for what no encoder writes.
std::string EncodeLetter(const Letter& letter);
arrow::Result<Letter> DecodeLetter(std::string_view bytes);

/// Whether a numbered thing has been had before: the last 64 numbers are remembered, older ones count as had.
class SeenNumbers {
 public:
  /// True the first time.
  bool Take(uint64_t number);

 private:
  uint64_t highest_ = 0;
  uint64_t before_ = 0;  // bit i: highest_ - i was had
};

/// What became of letters that nobody reads.
struct IgnoredLetters {
  int64_t strange = 0;   ///< not sealed by a process of this job for this one, or malformed
  int64_t repeated = 0;  ///< had before, or older than 64 others of its sender
};

/// One process' letters. Between two names each direction has a key of its own out of the job's secret, and numbers its
/// letters, so that the server that passes them on can neither read, change nor repeat one, nor say that it is of
/// somebody else. As text: the number and what is sealed, in hexadecimal digits. All calls in tasks.
class SealedLetters : public std::enable_shared_from_this<SealedLetters> {
 public:
  using Reader = std::function<void(const std::string& from, const SeenAddresses& seen, const Letter& letter)>;

  SealedLetters(std::shared_ptr<Courier> courier, std::string secret, std::string job, int users)
      : courier_(std::move(courier)), secret_(std::move(secret)), job_(std::move(job)), users_(users) {}
  /// One that gets letters. It belongs to `users` paths, and closes the courier when all of them have left.
  static std::shared_ptr<SealedLetters> Make(std::shared_ptr<Courier> courier, std::string secret, std::string job,
                                             int users);

  Courier& courier() { return *courier_; }
  /// As Courier::Tell.
  arrow::Future<> Tell(const std::string& to, const Letter& letter);
  /// A pause of who sends letters; it ends at once when the last has left.
  Co<void> Rest(Executor* executor, TimePoint until);
  /// Who reads letters of this kind from now on.
  void Read(LetterKind kind, Reader reader) { readers_[static_cast<size_t>(kind)] = std::move(reader); }
  const IgnoredLetters& ignored() const { return ignored_; }
  void Leave();
  bool left() const { return users_ == 0; }

 private:
  struct In {
    Seal seal;
    SeenNumbers numbers;
  };
  struct Out {
    Seal seal;
    uint64_t next = 1;
  };

  arrow::Result<Seal> SealOf(const std::string& from, const std::string& to) const;
  arrow::Result<std::string> Close(const std::string& to, const Letter& letter);
  void Open(const CourierLetter& sealed);

  std::shared_ptr<Courier> courier_;
  const std::string secret_;
  const std::string job_;
  int users_;
  std::set<Nap*> resting_;
  std::map<std::string, Out> out_;
  std::map<std::string, In> in_;  // only of those whose seal has opened: strangers leave nothing
  std::array<Reader, 4> readers_;
  IgnoredLetters ignored_;
};

/// What stands for a process in messages.
inline std::string ShortName(const std::string& name) { return "process " + name.substr(0, 8); }

/// SealedLetters::Tell, and again for half a second (within `until`) while nobody of that name is at the server: whose
/// connection to it has just ended may be back at once, as where its gateway was restarted. Then NobodyListens; else an
/// IOError, after which another way may be tried, or Cancelled, also where the last has left.
Co<void> TellWhoMayReturn(std::shared_ptr<SealedLetters> letters, Executor* executor, std::string to, Letter letter,
                          TimePoint until);

}  // namespace cylon::internal
