// Processes behind gateways reach each other.
#include "cylon/net/punch/punch_paths.h"

#include <utility>

#include "cylon/base/error.h"
#include "cylon/net/punch/letters.h"
#include "cylon/net/punch/punch_path.h"
#include "cylon/net/punch/relay_path.h"

namespace cylon {

arrow::Result<std::vector<std::unique_ptr<Path>>> MakePunchPaths(AsioExecutor& executor,
                                                                 std::shared_ptr<Courier> courier, std::string secret,
                                                                 std::string job, PunchOptions options) {
  if (secret.empty()) {
    return AuthenticationError("this rank has no secret; set CYLON_SECRET or CYLON_SECRET_FILE");
  }
  auto letters = internal::SealedLetters::Make(std::move(courier), std::move(secret), std::move(job), /*users=*/2);
  std::vector<std::unique_ptr<Path>> paths;
  paths.push_back(internal::MakePunchPath(executor, letters, std::move(options)));
  paths.push_back(internal::MakeRelayPath(executor, letters));
  return paths;
}

}  // namespace cylon
