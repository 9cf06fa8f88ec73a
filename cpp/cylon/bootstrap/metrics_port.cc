// As much of HTTP/1.0 as reading one text takes.
#include "cylon/bootstrap/metrics_port.h"

#include <utility>
#include <vector>

#include "cylon/wire/strangers.h"

namespace cylon {

namespace {

constexpr size_t kMostRequest = 4 << 10;
constexpr size_t kMostCallers = 16;

std::string Respond(const char* status, const char* type, const std::string& body) {
  return std::string("HTTP/1.0 ") + status + "\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

}  // namespace

struct MetricsPort::Caller {
  std::unique_ptr<Stream> stream;
  std::string request = std::string(kMostRequest, '\0');
  size_t read = 0;
  std::shared_ptr<Timer> timer = nullptr;
};

std::string AnswerHttp(std::string_view request, const std::function<std::string()>& metrics) {
  const std::string_view line = request.substr(0, request.find("\r\n"));
  const auto method_end = line.find(' ');
  const auto target_end = line.find(' ', method_end == std::string_view::npos ? line.size() : method_end + 1);
  if (target_end == std::string_view::npos || !line.substr(target_end + 1).starts_with("HTTP/1.")) {
    return Respond("400 Bad Request", "text/plain", "this port speaks HTTP/1\n");
  }
  if (line.substr(0, method_end) != "GET") {
    return Respond("405 Method Not Allowed", "text/plain", "only GET is served\n");
  }
  if (line.substr(method_end + 1, target_end - method_end - 1) != "/metrics") {
    return Respond("404 Not Found", "text/plain", "there is nothing but /metrics\n");
  }
  return Respond("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics());
}

MetricsPort::MetricsPort(AsioExecutor& executor, std::function<std::string()> text)
    : executor_(executor), text_(std::move(text)) {}

arrow::Status MetricsPort::Open(const std::shared_ptr<MetricsPort>& self, const HostPort& listen) {
  ARROW_ASSIGN_OR_RAISE(self->listener_,
                        ListenTcp(self->executor_.io(), listen, [weak = std::weak_ptr<MetricsPort>(self)](auto stream) {
                          if (const auto open = weak.lock()) {
                            Admit(open, std::move(stream));
                          }
                        }));
  return arrow::Status::OK();
}

void MetricsPort::Close() {
  listener_.reset();
  for (const auto& caller : std::exchange(callers_, {})) {
    caller->stream->Close();
  }
}

void MetricsPort::Admit(const std::shared_ptr<MetricsPort>& self, std::unique_ptr<Stream> stream) {
  while (self->callers_.size() >= kMostCallers) {
    const auto oldest = self->callers_.front();
    self->callers_.pop_front();
    oldest->stream->Close();
  }
  const auto caller = std::make_shared<Caller>();
  caller->stream = std::move(stream);
  caller->timer =
      self->executor_.PostAt(self->executor_.Now() + kStrangerPatience, [weak = std::weak_ptr<Caller>(caller)] {
        if (const auto slow = weak.lock()) {
          slow->stream->Close();
        }
      });
  self->callers_.push_back(caller);
  internal::DriveVoid(Serve(self, caller), arrow::Future<>::Make());
}

Co<std::string> MetricsPort::ReadRequest(CallerPtr caller) {
  while (caller->read < kMostRequest) {
    auto reading = caller->stream->ReadSome(
        {reinterpret_cast<uint8_t*>(caller->request.data()) + caller->read, kMostRequest - caller->read});
    CYLON_CO_ASSIGN_OR_RETURN(const int64_t got, co_await reading);
    caller->read += static_cast<size_t>(got);
    const auto text = std::string_view(caller->request).substr(0, caller->read);
    if (got == 0 || text.find("\r\n\r\n") != std::string_view::npos) {
      break;
    }
  }
  co_return caller->request.substr(0, caller->read);
}

Co<void> MetricsPort::Serve(std::shared_ptr<MetricsPort> self, CallerPtr caller) {
  auto reading = ReadRequest(caller);
  const auto request = co_await reading;
  auto status = request.status();
  if (status.ok()) {
    const std::string answer = AnswerHttp(*request, self->text_);
    std::vector<std::span<const uint8_t>> parts;
    parts.emplace_back(reinterpret_cast<const uint8_t*>(answer.data()), answer.size());
    auto writing = caller->stream->Write(std::move(parts));
    status = co_await writing;
    // Closing over bytes that were not read would reset the answer away.
    size_t drained = request->ends_with("\r\n\r\n") ? kMostRequest : 0;
    while (status.ok() && drained < kMostRequest) {
      auto draining = caller->stream->ReadSome({reinterpret_cast<uint8_t*>(caller->request.data()), kMostRequest});
      const auto got = co_await draining;
      if (!got.ok() || *got == 0) {
        break;
      }
      drained += static_cast<size_t>(*got);
    }
  }
  caller->timer->Cancel();
  caller->stream->Close();
  self->callers_.remove(caller);
  co_return status;
}

}  // namespace cylon
