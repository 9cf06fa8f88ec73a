/// Processes that have no way to each other meet at the server, which copies bytes.
#pragma once

#include <memory>

#include "cylon/base/asio_executor.h"
#include "cylon/net/mesh/path.h"
#include "cylon/net/punch/letters.h"

namespace cylon::internal {

/// The dialler draws a token, tells the peer by a sealed letter, and both ask the server to join them under it. Dial
/// gives NobodyListens where the server knows nobody of that name, DeadlineError where the peer does not come,
/// Cancelled when `stop` finishes, and what Courier::Relay gives else.
std::unique_ptr<Path> MakeRelayPath(AsioExecutor& executor, std::shared_ptr<SealedLetters> letters);

}  // namespace cylon::internal
