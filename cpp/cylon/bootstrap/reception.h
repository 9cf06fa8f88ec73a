/// A port of a server: who is let in, and what strangers may do there.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/bootstrap/probe.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// A connection that proved nothing, or showed no good token.
struct Refusal {
  std::string reason;  ///< "full", "gave_way", "probe", "secret", "settings", "protocol", "slow" or "left"
  std::string peer;
  arrow::Status status;
};

/// What a port is for.
struct ReceptionRules {
  Identity self = {};  ///< who answers there: its purposes, and whether every job may come
  /// Serves one that has proven itself until it ends. Nothing: nobody is let in.
  std::function<Co<void>(OpenedStream)> serve = {};
  /// Connections that are served at once; more are closed as they come.
  size_t most = 4096;
  /// Says whether a probe has shown a good token. Nothing: no probes are answered.
  ProbeJudge judge_probe = {};
  std::function<void(const Refusal&)> on_refused = [](const Refusal&) {};
};

/// Listens on one port. Strangers are bounded in number and time (wire/strangers.h), those that probe and those that
/// have not said yet what they want with the others. Belongs to tasks.
class Reception : public std::enable_shared_from_this<Reception> {
 public:
  Reception(AsioExecutor& executor, Security security, ReceptionRules rules);

  static arrow::Status Open(const std::shared_ptr<Reception>& self, const HostPort& listen);
  /// Once it is open.
  HostPort address() const { return listener_->address(); }
  size_t strangers() const { return strangers_.size(); }
  /// Takes nobody any more, and ends those that have not proven themselves. Those that are served go on.
  void Close();

 private:
  struct Stranger;
  using StrangerPtr = std::shared_ptr<Stranger>;

  static void Admit(const std::shared_ptr<Reception>& self, std::unique_ptr<Stream> stream);
  static Co<void> Welcome(std::shared_ptr<Reception> self, std::unique_ptr<Stream> stream, StrangerPtr stranger);
  static Co<OpenedStream> LetIn(std::shared_ptr<Reception> self, std::unique_ptr<Stream> stream, StrangerPtr stranger);

  AsioExecutor& executor_;
  const Security security_;
  const ReceptionRules rules_;
  std::unique_ptr<Listener> listener_;
  std::list<StrangerPtr> strangers_;  // the oldest first
  size_t served_ = 0;
};

}  // namespace cylon
