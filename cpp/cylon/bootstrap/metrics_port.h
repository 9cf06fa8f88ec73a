/// A port at which a text is read over HTTP, as Prometheus does.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Answers `GET /metrics` with the text, one request a connection, and all else with an error. Whoever reaches the port
/// may read it. A connection costs 4 KiB and 5 s at most, and of 16 at once the oldest gives way. Belongs to tasks.
class MetricsPort : public std::enable_shared_from_this<MetricsPort> {
 public:
  MetricsPort(AsioExecutor& executor, std::function<std::string()> text);

  static arrow::Status Open(const std::shared_ptr<MetricsPort>& self, const HostPort& listen);
  /// Once it is open.
  HostPort address() const { return listener_->address(); }
  /// Ends all; nobody comes any more.
  void Close();

 private:
  struct Caller;
  using CallerPtr = std::shared_ptr<Caller>;

  static void Admit(const std::shared_ptr<MetricsPort>& self, std::unique_ptr<Stream> stream);
  static Co<void> Serve(std::shared_ptr<MetricsPort> self, CallerPtr caller);
  static Co<std::string> ReadRequest(CallerPtr caller);

  AsioExecutor& executor_;
  const std::function<std::string()> text_;
  std::unique_ptr<Listener> listener_;
  std::list<CallerPtr> callers_;  // the oldest first
};

/// What is answered to a request, whose first line is `request`.
std::string AnswerHttp(std::string_view request, const std::function<std::string()>& metrics);

}  // namespace cylon
