/// How a process shows its port to the server, and tells a peer where it is.
#pragma once

#include <arrow/result.h>
#include <arrow/util/future.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/net/punch/letters.h"
#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/punch/punch_port.h"

namespace cylon::internal {

/// What the server has seen of a port holds for so long: gateways forget a connection that was closed after ten
/// seconds to some minutes.
inline constexpr Duration kProbeLasts = std::chrono::seconds(10);

/// The ports of one process' attempts. A letter goes out with what the server saw last of this process: so letters of
/// one port may be under way together, and another port is shown when they have arrived. All calls in tasks; outlives
/// its owner as long as a letter is under way.
class Announcer {
 public:
  /// A letter out of what the server has seen of this process, and its own addresses.
  using Write = std::function<Letter(const SeenAddresses& seen, const std::vector<HostPort>& own)>;

  Announcer(AsioExecutor& executor, std::shared_ptr<SealedLetters> letters, PunchOptions options)
      : executor_(executor), letters_(std::move(letters)), options_(std::move(options)) {}

  /// The one of all first rounds, or a `fresh` one, which is the caller's to close.
  arrow::Result<std::shared_ptr<PunchPort>> Port(bool fresh);

  /// Tells `to` what `write` makes of `port`, which the server has seen by then. As TellWhoMayReturn; Cancelled when
  /// closed meanwhile; IOError where the server cannot see the port.
  static Co<void> Announce(std::shared_ptr<Announcer> self, std::shared_ptr<PunchPort> port, std::string to,
                           TimePoint until, Write write);

  /// Closes the port of first rounds; no port is shown any more.
  void Close();

 private:
  static Co<void> Show(std::shared_ptr<Announcer> self, std::shared_ptr<PunchPort> port, TimePoint until);

  AsioExecutor& executor_;
  const std::shared_ptr<SealedLetters> letters_;
  const PunchOptions options_;
  std::shared_ptr<PunchPort> port_;
  uint16_t probed_ = 0;  // the port that the server saw last
  TimePoint probed_at_{};
  arrow::Future<> turn_ = Done();           // of the last who announces a port
  std::vector<arrow::Future<>> under_way_;  // letters, with what the server saw last
  bool closed_ = false;
};

}  // namespace cylon::internal
