// What all byte streams have in common, and addresses as text.
#include "cylon/wire/stream.h"

#include <charconv>

#include "cylon/wire/end_of_stream.h"

namespace cylon {

Stream::~Stream() = default;
void Stream::EndWrites() { Close(); }
std::string Stream::binding() const { return {}; }
Listener::~Listener() = default;

namespace {

constexpr char kEndOfStreamId[] = "cylon::EndOfStream";
constexpr char kNobodyListensId[] = "cylon::NobodyListens";

class EndOfStreamDetail : public arrow::StatusDetail {
 public:
  explicit EndOfStreamDetail(bool was_reset) : reset(was_reset) {}
  const bool reset;
  const char* type_id() const override { return kEndOfStreamId; }
  std::string ToString() const override { return "end of stream"; }
};

class NobodyListensDetail : public arrow::StatusDetail {
 public:
  const char* type_id() const override { return kNobodyListensId; }
  std::string ToString() const override { return "nobody listens"; }
};

bool HasDetail(const arrow::Status& status, std::string_view id) {
  return status.detail() != nullptr && status.detail()->type_id() == id;
}

}  // namespace

arrow::Status EndOfStream(const std::string& peer_name, bool reset) {
  return {arrow::StatusCode::IOError, "connection closed by " + peer_name, std::make_shared<EndOfStreamDetail>(reset)};
}

bool IsEndOfStream(const arrow::Status& status) { return HasDetail(status, kEndOfStreamId); }

bool IsReset(const arrow::Status& status) {
  return IsEndOfStream(status) && static_cast<const EndOfStreamDetail&>(*status.detail()).reset;
}

arrow::Status NobodyListens(const std::string& message) {
  return {arrow::StatusCode::IOError, message, std::make_shared<NobodyListensDetail>()};
}

bool IsNobodyListening(const arrow::Status& status) { return HasDetail(status, kNobodyListensId); }

arrow::Result<HostPort> HostPort::Parse(std::string_view text) {
  const auto refuse = [whole = std::string(text)](const std::string& what) {
    return arrow::Status::Invalid("the address '", whole, "' ", what, "; write host:port, for example 127.0.0.1:4711 ",
                                  "or [::1]:4711");
  };
  std::string_view rest = text;
  constexpr std::string_view kScheme = "tcp://";
  if (rest.starts_with(kScheme)) {
    rest.remove_prefix(kScheme.size());
  }
  HostPort out;
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos || close + 1 >= rest.size() || rest[close + 1] != ':') {
      return refuse("has no ]: after its IPv6 host");
    }
    out.host = rest.substr(1, close - 1);
    rest.remove_prefix(close + 2);
  } else {
    const size_t colon = rest.find(':');
    if (colon == std::string_view::npos) {
      return refuse("has no port");
    }
    out.host = rest.substr(0, colon);
    rest.remove_prefix(colon + 1);
    if (rest.find(':') != std::string_view::npos) {
      return refuse("has more than one colon");
    }
  }
  if (out.host.empty()) {
    return refuse("has no host");
  }
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), out.port);
  if (rest.empty() || error != std::errc() || end != rest.data() + rest.size()) {
    return refuse("has no port between 0 and 65535");
  }
  return out;
}

std::string HostPort::ToString() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace cylon
