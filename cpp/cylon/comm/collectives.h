/// The algorithms of the collectives, over one operation's sends and receives. All return the buffers of others as they
/// arrived: no copy.
#pragma once

#include <memory>

#include "cylon/base/co.h"
#include "cylon/comm/inbox.h"

namespace cylon::internal {

using BufferPtr = std::shared_ptr<arrow::Buffer>;
using OperationPtr = std::shared_ptr<Operation>;

/// Dissemination (Hensgen, Finkel and Manber, 1988): in round k each rank tells the one 2^k further on.
Co<void> RunBarrier(OperationPtr op);

/// Recursive doubling; where the world is no power of two, the first ranks fold pairwise before and unfold after.
/// Operands are combined in rank order at both partners, so all ranks compute the same bits.
Co<BufferPtr> RunAllReduce(OperationPtr op, BufferPtr values, arrow::MemoryPool* pool);

/// Binomial tree towards the root.
Co<BufferPtr> RunReduce(OperationPtr op, BufferPtr values, arrow::MemoryPool* pool);

/// Binomial tree from the root.
Co<BufferPtr> RunBroadcast(OperationPtr op, BufferPtr value);

/// Bruck et al., 1997: in round k each rank passes all it has (up to 2^k buffers) to the one 2^k further on.
Co<Buffers> RunAllGather(OperationPtr op, BufferPtr value);

/// Straight to and from the root: every buffer travels once, and credits hold back what the root cannot take yet.
Co<Buffers> RunGather(OperationPtr op, BufferPtr value);
Co<BufferPtr> RunScatter(OperationPtr op, Buffers values);

/// Pairwise: in step k each rank sends to the one k further on and receives from the one k before.
Co<Buffers> RunAllToAll(OperationPtr op, Buffers values);

}  // namespace cylon::internal
