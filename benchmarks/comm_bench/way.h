/// A way to move bytes among the ranks: one of our transports, or what it is compared with.
#pragma once

#include <arrow/status.h>

#include <cstdint>
#include <memory>
#include <string>

#include "../cylon_bench/raw_sockets.h"
#include "cylon/cylon.h"

namespace cylon::bench {

/// Every call is made by every rank of the run. The answers are checked: a wrong one is an error.
class Way {
 public:
  virtual ~Way() = default;
  virtual std::string name() const = 0;
  virtual arrow::Status Barrier() = 0;
  /// The sum of one int64 of each rank.
  virtual arrow::Status AllReduce() = 0;
  /// `bytes` from each rank to each other one.
  virtual arrow::Status AllToAll(int64_t bytes) = 0;
  /// `count` messages of `bytes` from rank 0 to rank 1, and a word back.
  virtual arrow::Status Stream(int64_t bytes, int count) = 0;
};

/// What ways without a communicator have in common: collectives of 8 bytes over Send and Receive, the algorithms that
/// MPI libraries use for them.
class PlainWay : public Way {
 public:
  PlainWay(int rank, int size) : rank_(rank), size_(size) {}
  arrow::Status Barrier() override;
  arrow::Status AllReduce() override;

 protected:
  virtual arrow::Status Send(int peer, const void* data, int64_t bytes) = 0;
  virtual arrow::Status Receive(int peer, void* data, int64_t bytes) = 0;
  int rank() const { return rank_; }
  int size() const { return size_; }

 private:
  int rank_;
  int size_;
};

/// The communicator of `context`, which goes by `transport`.
std::unique_ptr<Way> MakeOwnWay(std::shared_ptr<Context> context, std::string transport, int64_t most_bytes);
/// Plain sockets, one thread a rank; on loopback unless `own` says otherwise.
arrow::Result<std::unique_ptr<Way>> MakeSocketWay(Context& context, int64_t most_bytes, const RawPlace& own = {});
/// Copies into and out of memory that the ranks share: what a transport through memory cannot pass.
arrow::Result<std::unique_ptr<Way>> MakeMemoryWay(Context& context, int64_t most_bytes);

}  // namespace cylon::bench
