// Where a cluster's keys are.
#include "cylon/bootstrap/redis_cluster.h"

#include <memory>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/redis_errors.h"

namespace cylon {

namespace {

/// As PassingTrouble has it, with where to go.
class MoveDetail final : public PassingDetail {
 public:
  explicit MoveDetail(RedisMove move) : move_(std::move(move)) {}
  const RedisMove& move() const { return move_; }

 private:
  RedisMove move_;
};

bool IsLoopback(std::string_view host) { return host.starts_with("127.") || host == "::1" || host == "localhost"; }

/// What a host's name or address is made of.
bool IsHost(std::string_view host) {
  constexpr size_t kLongestHost = 253;
  return !host.empty() && host.size() <= kLongestHost && host != "0.0.0.0" && host != "::" &&
         host.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
             "UVWXYZ0123456789.:-_") == std::string_view::npos;
}

}  // namespace

std::string RedisKey(std::string_view key) {
  const size_t slash = key.find('/');
  if (slash == std::string_view::npos) {
    return kRedisKeyPrefix + std::string(key);
  }
  return std::string(kRedisKeyPrefix).append("{").append(key.substr(0, slash)).append("}").append(key.substr(slash));
}

arrow::Status RedisMoved(const std::string& server, std::string_view text) {
  const size_t first = text.find(' ');
  const size_t second = text.find(' ', first + 1);
  const std::string_view named = second == std::string_view::npos ? "" : text.substr(second + 1);
  const size_t colon = named.rfind(':');
  std::string host(named.substr(0, colon == std::string_view::npos ? 0 : colon));
  const auto from = HostPort::Parse(server);
  if (host.empty() && from.ok()) {
    host = from->host;  // a server that does not know its own address
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  const std::string port(colon == std::string_view::npos ? "" : named.substr(colon + 1));
  const auto to = HostPort::Parse((host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port);
  if (!IsHost(host) || !to.ok() || to->port == 0) {
    return ProtocolError("the Redis server at " + server +
                         " sends its clients to another server of its cluster, "
                         "at no valid host:port; check its "
                         "configuration (cluster-announce-ip)");
  }
  if (IsLoopback(to->host) && from.ok() && !IsLoopback(from->host)) {
    return ProtocolError("the Redis server at " + server + " sends its clients to " + to->ToString() +
                         ", which is each client's own host; set "
                         "cluster-announce-ip on the servers of the cluster");
  }
  return {arrow::StatusCode::IOError, "it sends its clients to " + to->ToString(),
          std::make_shared<MoveDetail>(RedisMove{*to, text.starts_with("ASK")})};
}

const RedisMove* MoveOf(const arrow::Status& status) {
  const auto* detail = IsPassing(status) ? dynamic_cast<const MoveDetail*>(status.detail().get()) : nullptr;
  return detail == nullptr ? nullptr : &detail->move();
}

}  // namespace cylon
