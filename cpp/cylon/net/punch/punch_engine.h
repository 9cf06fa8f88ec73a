/// One attempt of two processes to reach each other through their gateways.
#pragma once

#include <arrow/util/future.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/net/punch/punch_port.h"
#include "cylon/net/punch/punch_proof.h"

namespace cylon::internal {

struct PunchTerms {
  std::string attempt;  ///< kAttemptBytes that only the two know
  PunchRole role = PunchRole::kCaller;
  TimePoint deadline = kNever;
};

/// Dials every candidate of the peer, with one socket for each that goes on connecting: the kernel repeats its SYN
/// after 1 and 3 s, and a socket that is made anew meanwhile misses the peer's (measured with both made anew every 0.5
/// s: 7 of 10 get stuck). A refusal makes a new one, after 50 to 250 ms: a gateway that answers a SYN that came too
/// early, or a process that does not listen yet. And the caller, not the called side, takes its SYN for lost where
/// nothing has come for a round trip, and makes a new one; then for twice as long, as long as that is sooner than the
/// kernel. It dials after the called side has, so that its own SYN is the one that finds both holes open. Meanwhile the
/// port takes whom the peer's dials bring. On each connection both ends prove that they mean this attempt
/// (punch_proof.h); the caller nominates the first that has got so far, and the next where that one ends before the
/// other side confirms. All others are reset.
class PunchAttempt : public std::enable_shared_from_this<PunchAttempt> {
 public:
  /// Takes who dials `port` for it from now on. In a task, as all calls.
  static std::shared_ptr<PunchAttempt> Start(AsioExecutor& executor, std::shared_ptr<PunchPort> port, PunchTerms terms);
  PunchAttempt(AsioExecutor& executor, std::shared_ptr<PunchPort> port, PunchTerms terms);
  ~PunchAttempt() { End(arrow::Status::Cancelled("nobody waits for this attempt any more")); }

  /// Once, when they are known. `patience`: of the caller, more than a round trip to the peer; 0: of the called side.
  void Dial(const std::vector<HostPort>& candidates, Duration patience);

  /// OK where there is a winner. DeadlineError, saying what became of each candidate, at the deadline; what End gave.
  const arrow::Future<>& done() const { return done_; }
  /// The winner, nothing of which is read or written yet after the exchange.
  std::unique_ptr<Stream> TakeWinner();
  /// Closes everything but the winner.
  void End(const arrow::Status& why);

 private:
  /// A socket that is connecting.
  struct Connecting {
    explicit Connecting(asio::ip::tcp::socket from) : socket(std::move(from)) {}
    asio::ip::tcp::socket socket;
    asio::error_code error;
    arrow::Future<> done = arrow::Future<>::Make();
    void Finish(const asio::error_code& outcome);
  };
  struct Knock {
    HostPort candidate;
    std::shared_ptr<Connecting> connecting;
    arrow::Future<> rest;  // between two of them
    std::string last;      // what became of the last one; "": no answer yet
  };

  static Co<void> DialCandidate(std::shared_ptr<PunchAttempt> self, std::shared_ptr<Knock> knock, Duration patience);
  static Co<void> Take(std::shared_ptr<PunchAttempt> self, std::unique_ptr<PunchedStream> stream, PunchHello hello);
  Co<void> Connect(Knock* knock, asio::ip::tcp::endpoint to, TimePoint again,
                   std::unique_ptr<PunchedStream>* connected);
  Co<void> Try(std::unique_ptr<PunchedStream> stream, const PunchHello* theirs);
  Co<void> Prove(PunchedStream* stream, const PunchHello* theirs);
  Co<void> Nominate(PunchedStream* stream);
  Co<void> AwaitNomination(PunchedStream* stream);
  void Win(std::unique_ptr<PunchedStream> stream);
  arrow::Status TooLate() const;

  AsioExecutor& executor_;
  const std::shared_ptr<PunchPort> port_;
  const PunchTerms terms_;
  const std::string tag_;
  std::shared_ptr<Timer> timer_;
  std::vector<std::shared_ptr<Knock>> knocks_;
  std::set<PunchedStream*> streams_;  // connected, and not the winner
  PunchedStream* nominated_ = nullptr;
  arrow::Future<> nominating_ = Done();  // unfinished while there is one
  std::unique_ptr<PunchedStream> winner_;
  bool over_ = false;
  arrow::Future<> done_ = arrow::Future<>::Make();
};

}  // namespace cylon::internal
