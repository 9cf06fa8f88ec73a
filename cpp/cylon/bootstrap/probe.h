/// Probes: short connections by which a process learns from where a server sees one of its ports.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Dials `looker` from `local_port` of this machine, which others may use at the same time (SO_REUSEADDR and
/// SO_REUSEPORT), shows `token`, and returns how the server sees that port. It is begun anew where nothing has answered
/// for `patience`, then for twice as long each time: TCP sends a first packet that was lost again after 1 s (RFC 6298).
/// DeadlineError at `deadline`, Cancelled when `stop` finishes first; else IOError, which names both.
Co<HostPort> ProbeFrom(AsioExecutor* executor, uint16_t local_port, HostPort looker, std::string token,
                       Duration patience, TimePoint deadline, arrow::Future<> stop);

/// Says whether somebody at an address has shown a token that is good.
using ProbeJudge = std::function<bool(const std::string& token, const HostPort& from)>;

/// The server's end, after kProbeMagic: closed in any case. False where the token was not good, or did not come in the
/// time that a stranger has.
Co<bool> AnswerProbe(Stream* stream, Executor* executor, ProbeJudge judge);

/// Where a stream comes from. An IPv4 address that an IPv6 socket sees is told as itself.
arrow::Result<HostPort> SeenFrom(const Stream& stream);

}  // namespace cylon
