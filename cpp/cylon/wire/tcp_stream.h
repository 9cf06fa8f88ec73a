/// What dialled and accepted TCP connections have in common.
#pragma once

#include <asio/ip/tcp.hpp>
#include <memory>

#include "cylon/wire/stream.h"

namespace cylon::internal {

/// IPv4 addresses that a socket for both families shows as IPv6 ones come out as IPv4.
HostPort FromEndpoint(const asio::ip::tcp::endpoint& endpoint);

/// Of a connected socket. `keep_alive`: as kKeepAlive.
std::unique_ptr<Stream> MakeTcpStream(asio::ip::tcp::socket socket, const asio::ip::tcp::endpoint& remote,
                                      Duration keep_alive);

}  // namespace cylon::internal
