/// The status that says that the other side is gone.
#pragma once

#include <arrow/status.h>

#include <string>

namespace cylon {

/// IOError "connection closed by <peer>" that IsEndOfStream knows, and IsReset where it was not closed in order.
arrow::Status EndOfStream(const std::string& peer_name, bool reset = false);

}  // namespace cylon
