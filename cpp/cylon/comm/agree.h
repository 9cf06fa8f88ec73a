/// Agreements: every rank's proposal as bytes, and what all of them together mean.
#pragma once

#include <arrow/result.h>

#include <memory>

#include "cylon/comm/communicator.h"

namespace cylon::internal {

/// `site`: where the program makes the call.
std::shared_ptr<arrow::Buffer> EncodeProposal(const Proposal& proposal, const std::string& site);

/// What the proposals of all ranks, by rank, come to: see Communicator::Agree. `members` are the ranks' numbers in the
/// world, for messages; `own` is this rank's proposal, whose status keeps its local form.
arrow::Result<Agreement> Conclude(const Buffers& proposals, const std::vector<Rank>& members, Rank own_rank,
                                  const Proposal& own);

}  // namespace cylon::internal
