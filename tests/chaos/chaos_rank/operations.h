/// Operations whose answers are known beforehand.
#pragma once

#include <arrow/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cylon/cylon.h"

namespace cylon::chaos {

/// "barrier", "allreduce", …
std::vector<std::string> OperationNames();

/// One of them, with data that depends on `round` alone and about `bytes` of it at each rank; compares what comes with
/// what has to. WrongAnswer where that differs; the operation's own error where it fails. Collective.
arrow::Status RunOperation(Context& context, const std::string& name, int64_t round, int64_t bytes);

}  // namespace cylon::chaos
