/// Processes behind gateways reach each other by holes that both make at once.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/net/mesh/path.h"
#include "cylon/net/punch/letters.h"
#include "cylon/net/punch/punch_paths.h"

namespace cylon::internal {

/// A round ends after so long at the latest: it has the SYNs that a kernel sends at 0, 1 and 3 s.
inline constexpr Duration kLongestRound = std::chrono::seconds(5);
/// A round's share of the time that a dial has from its start; what is left is for the relay.
inline constexpr double kFirstRoundShare = 0.4;
inline constexpr double kSecondRoundShare = 0.25;
///   dialler (caller)                          server                      peer (called)
///      | -- probes of its port ----------------> |                            |
///      | -- call: attempt, addresses, NAT ------>| ----------------------->   |
///      |                                         | <---- probes of its port --|
///      | <---------------------------------------| <---- answer ------------- |
///      | <=============== both dial, both listen (punch_engine.h) ==========> |
///
/// A second round has a new attempt and fresh ports at both ends, as a gateway that has once refused a port goes on
/// doing so. With a peer with whom there was a connection that is the only one. Where the gateways of both are
/// symmetric no port is told in advance, so nobody tries. Of two that call each other at once the one with the lower
/// name goes on, and the other waits for that. Dial gives: NobodyListens where the server knows nobody of that name;
/// Cancelled when `stop` finishes; IOError else, by its share of the time, so that the next address can be tried.
std::unique_ptr<Path> MakePunchPath(AsioExecutor& executor, std::shared_ptr<SealedLetters> letters,
                                    PunchOptions options);

}  // namespace cylon::internal
