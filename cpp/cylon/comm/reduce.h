/// Element-wise reduction of two arrays.
#pragma once

#include <arrow/buffer.h>
#include <arrow/result.h>

#include <string_view>

#include "cylon/comm/communicator.h"

namespace cylon::internal {

/// Bytes of one element; 0 for a type that is not reduced.
int64_t ElementWidth(ElementType type);

/// "int64", "float", …; "type 42" for one that is not reduced.
std::string ElementName(ElementType type);

/// "sum", "min", …
std::string_view ReduceOpName(ReduceOp op);

/// Invalid where `op` does not apply to `type`, or `bytes` are not whole elements; the message says what does.
arrow::Status CheckReduction(ElementType type, ReduceOp op, int64_t bytes);

/// out[i] = op(left[i], right[i]); `left` and `right` have `bytes` each. `out` may be either. Integers wrap around; of
/// a NaN and a number, min and max give the NaN; logical operations give 0 or 1; on bool, sum is "or" and prod is
/// "and".
void ReduceInto(ElementType type, ReduceOp op, const uint8_t* left, const uint8_t* right, uint8_t* out, int64_t bytes);

}  // namespace cylon::internal
