// URLs of Redis servers.
#include "cylon/bootstrap/redis_address.h"

#include <charconv>

#include "cylon/base/random.h"

namespace cylon {

namespace {

constexpr std::string_view kRedisPort = "6379";

arrow::Status BadRedisUrl(const std::string& what) {
  return arrow::Status::Invalid(
      "the URL of the Redis server ", what,
      "; write redis://[user[:password]@]host[:port][/database], rediss://...[?ca=file] for TLS, with %40 "
      "for an @ in a password and the like; check CYLON_STORE");
}

arrow::Result<std::string> Unescape(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    const auto byte = HexDecode(text.substr(at + 1, 2));
    if (!byte.ok() || byte->size() != 1) {
      return BadRedisUrl("has a % without two hexadecimal digits after it");
    }
    out += *byte;
    at += 2;
  }
  return out;
}

}  // namespace

arrow::Result<RedisAddress> RedisAddress::Parse(std::string_view url) {
  constexpr std::string_view kPlain = "redis://";
  constexpr std::string_view kTls = "rediss://";
  RedisAddress out;
  out.tls = url.starts_with(kTls);
  if (!out.tls && !url.starts_with(kPlain)) {
    return BadRedisUrl("begins with neither redis:// nor rediss://");
  }
  std::string_view rest = url.substr(out.tls ? kTls.size() : kPlain.size());
  // The last @: a password may have some that nobody escaped.
  const size_t at = rest.rfind('@');
  if (at != std::string_view::npos) {
    const std::string_view login = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    const size_t colon = login.find(':');
    ARROW_ASSIGN_OR_RAISE(out.user, Unescape(login.substr(0, colon)));
    if (colon != std::string_view::npos) {
      ARROW_ASSIGN_OR_RAISE(out.password, Unescape(login.substr(colon + 1)));
    }
  }
  const size_t query = rest.find('?');
  if (query != std::string_view::npos) {
    constexpr std::string_view kCa = "ca=";
    const std::string_view setting = rest.substr(query + 1);
    if (!out.tls || !setting.starts_with(kCa) || setting.find('&') != std::string_view::npos) {
      return BadRedisUrl("has something after its ? that is not ca=file of a rediss:// server");
    }
    ARROW_ASSIGN_OR_RAISE(out.ca_file, Unescape(setting.substr(kCa.size())));
    rest = rest.substr(0, query);
  }
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos && slash + 1 < rest.size()) {
    const auto database = rest.substr(slash + 1);
    const auto [end, error] = std::from_chars(database.data(), database.data() + database.size(), out.database);
    if (error != std::errc() || end != database.data() + database.size() || out.database < 0) {
      return BadRedisUrl("has something after its host that is not the number of a database");
    }
  }
  std::string server(rest.substr(0, slash));
  // A colon outside the brackets of an IPv6 host comes before a port.
  const size_t bracket = server.rfind(']');
  if (server.find(':', bracket == std::string::npos ? 0 : bracket) == std::string::npos) {
    server.append(":").append(kRedisPort);
  }
  // Its message would repeat the text.
  auto parsed = HostPort::Parse(server);
  if (!parsed.ok() || server.starts_with("tcp:") || parsed->port == 0) {
    return BadRedisUrl("has no valid host and port");
  }
  out.server = *std::move(parsed);
  return out;
}

std::string RedisAddress::ToString() const {
  std::string out = tls ? "rediss://" : "redis://";
  if (!user.empty() && !password.empty()) {
    out += user + "@";
  }
  out += server.ToString();
  return database == 0 ? out : out + "/" + std::to_string(database);
}

}  // namespace cylon
