// What is the same for every communicator: blocking forms, agreements.
#include "cylon/comm/communicator.h"

#include <algorithm>
#include <cstring>

namespace cylon {

namespace {

template <typename T>
std::shared_ptr<arrow::Buffer> BufferOf(T value) {
  return arrow::Buffer::FromString(
      std::string(std::string_view(static_cast<const char*>(static_cast<const void*>(&value)), sizeof(T))));
}

template <typename T>
arrow::Result<T> AllReduceOne(Communicator* communicator, T value, ElementType type, ReduceOp op) {
  ARROW_ASSIGN_OR_RAISE(auto reduced, communicator->AllReduce(BufferOf(value), type, op));
  T result;
  std::memcpy(&result, reduced->data(), sizeof(T));
  return result;
}

}  // namespace

int64_t Agreement::Sum(size_t index) const {
  int64_t sum = 0;
  for (const auto& of_rank : values) {
    sum += of_rank[index];
  }
  return sum;
}

int64_t Agreement::Max(size_t index) const {
  int64_t most = INT64_MIN;
  for (const auto& of_rank : values) {
    most = std::max(most, of_rank[index]);
  }
  return most;
}

CallSite::CallSite(Communicator& communicator, std::source_location location)
    : communicator_(communicator.call_site_.empty() && communicator.size() > 1 ? &communicator : nullptr) {
  if (communicator_ != nullptr) {
    const std::string_view path = location.file_name();
    communicator_->call_site_ = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
    communicator_->call_site_ += ":" + std::to_string(location.line());
  }
}

CallSite::CallSite(Communicator& communicator, std::string place)
    : communicator_(communicator.call_site_.empty() && communicator.size() > 1 ? &communicator : nullptr) {
  if (communicator_ != nullptr) {
    communicator_->call_site_ = std::move(place);
  }
}

CallSite::~CallSite() {
  if (communicator_ != nullptr) {
    communicator_->call_site_.clear();
  }
}

Communicator::~Communicator() = default;

arrow::Status Communicator::WaitOrGiveUp(const arrow::Future<>& future) {
  // Finished futures need no executor: it may be gone, where the context was closed.
  if (future.is_finished()) {
    return arrow::Status::OK();
  }
  auto status = Wait(future, nullptr);
  if (!status.ok() && Check().ok()) {
    GiveUp("interrupted");
  }
  return status;
}

arrow::Status Communicator::Barrier(Location location) {
  CallSite site(*this, location);
  return Await(BarrierAsync());
}

arrow::Result<std::shared_ptr<arrow::Buffer>> Communicator::AllReduce(std::shared_ptr<arrow::Buffer> values,
                                                                      ElementType type, ReduceOp op,
                                                                      Location location) {
  CallSite site(*this, location);
  return Await(AllReduceAsync(std::move(values), type, op));
}

arrow::Result<int64_t> Communicator::AllReduce(int64_t value, ReduceOp op, Location location) {
  CallSite site(*this, location);
  return AllReduceOne(this, value, arrow::Type::INT64, op);
}

arrow::Result<double> Communicator::AllReduce(double value, ReduceOp op, Location location) {
  CallSite site(*this, location);
  return AllReduceOne(this, value, arrow::Type::DOUBLE, op);
}

arrow::Result<std::shared_ptr<arrow::Buffer>> Communicator::Reduce(std::shared_ptr<arrow::Buffer> values,
                                                                   ElementType type, ReduceOp op, Rank root,
                                                                   Location location) {
  CallSite site(*this, location);
  return Await(ReduceAsync(std::move(values), type, op, root));
}

arrow::Result<std::shared_ptr<arrow::Buffer>> Communicator::Broadcast(std::shared_ptr<arrow::Buffer> value, Rank root,
                                                                      Location location) {
  CallSite site(*this, location);
  return Await(BroadcastAsync(std::move(value), root));
}

arrow::Result<Buffers> Communicator::AllGather(std::shared_ptr<arrow::Buffer> value, Location location) {
  CallSite site(*this, location);
  return Await(AllGatherAsync(std::move(value)));
}

arrow::Result<Buffers> Communicator::Gather(std::shared_ptr<arrow::Buffer> value, Rank root, Location location) {
  CallSite site(*this, location);
  return Await(GatherAsync(std::move(value), root));
}

arrow::Result<std::shared_ptr<arrow::Buffer>> Communicator::Scatter(Buffers values, Rank root, Location location) {
  CallSite site(*this, location);
  return Await(ScatterAsync(std::move(values), root));
}

arrow::Result<Buffers> Communicator::AllToAll(Buffers values, Location location) {
  CallSite site(*this, location);
  return Await(AllToAllAsync(std::move(values)));
}

arrow::Status Communicator::Send(Rank to, std::shared_ptr<arrow::Buffer> value, int64_t tag, Location location) {
  CallSite site(*this, location);
  return Await(SendAsync(to, std::move(value), tag));
}

arrow::Result<std::shared_ptr<arrow::Buffer>> Communicator::Receive(Rank from, int64_t tag, Location location) {
  CallSite site(*this, location);
  return Await(ReceiveAsync(from, tag));
}

arrow::Result<Agreement> Communicator::Agree(Proposal proposal, Location location) {
  CallSite site(*this, location);
  return Await(AgreeAsync(std::move(proposal)));
}

}  // namespace cylon
