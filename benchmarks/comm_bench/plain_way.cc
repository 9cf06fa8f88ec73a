// Small collectives over nothing but sending and receiving; and plain sockets.
#include <numeric>
#include <vector>

#include "way.h"

namespace cylon::bench {

arrow::Status PlainWay::Barrier() {
  uint8_t word = 0;
  for (int distance = 1; distance < size_; distance *= 2) {
    ARROW_RETURN_NOT_OK(Send((rank_ + distance) % size_, &word, sizeof(word)));
    ARROW_RETURN_NOT_OK(Receive((rank_ - distance + size_) % size_, &word, sizeof(word)));
  }
  return arrow::Status::OK();
}

arrow::Status PlainWay::AllReduce() {
  int power = 1;
  while (power * 2 <= size_) {
    power *= 2;
  }
  int64_t sum = rank_ + 1;
  int64_t theirs = 0;
  // Ranks beyond the power of two give theirs to one below, and get the sum from it.
  if (rank_ >= power) {
    ARROW_RETURN_NOT_OK(Send(rank_ - power, &sum, sizeof(sum)));
    ARROW_RETURN_NOT_OK(Receive(rank_ - power, &sum, sizeof(sum)));
  } else {
    const bool has_other = rank_ + power < size_;
    if (has_other) {
      ARROW_RETURN_NOT_OK(Receive(rank_ + power, &theirs, sizeof(theirs)));
      sum += theirs;
    }
    for (int distance = 1; distance < power; distance *= 2) {
      ARROW_RETURN_NOT_OK(Send(rank_ ^ distance, &sum, sizeof(sum)));
      ARROW_RETURN_NOT_OK(Receive(rank_ ^ distance, &theirs, sizeof(theirs)));
      sum += theirs;
    }
    if (has_other) {
      ARROW_RETURN_NOT_OK(Send(rank_ + power, &sum, sizeof(sum)));
    }
  }
  if (sum != int64_t{size_} * (size_ + 1) / 2) {
    return arrow::Status::Invalid("the sum over ", size_, " ranks came out as ", sum);
  }
  return arrow::Status::OK();
}

namespace {

class SocketWay final : public PlainWay {
 public:
  SocketWay(int rank, int size, std::unique_ptr<RawSockets> sockets)
      : PlainWay(rank, size), sockets_(std::move(sockets)) {
    std::iota(sockets_->outgoing().begin(), sockets_->outgoing().end(), static_cast<uint8_t>(rank));
  }

  std::string name() const override { return "sockets"; }

  arrow::Status AllToAll(int64_t bytes) override {
    ARROW_RETURN_NOT_OK(sockets_->AllToAll(bytes));
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank() &&
          sockets_->incoming(peer)[bytes - 1] != static_cast<uint8_t>(peer + static_cast<int>(bytes - 1))) {
        return arrow::Status::Invalid("plain sockets brought other bytes from rank ", peer, " than it sent");
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status Stream(int64_t bytes, int count) override {
    uint8_t word = 1;
    if (rank() == 0) {
      for (int i = 0; i < count; ++i) {
        ARROW_RETURN_NOT_OK(Send(1, sockets_->outgoing().data(), bytes));
      }
      return Receive(1, &word, sizeof(word));
    }
    if (rank() == 1) {
      for (int i = 0; i < count; ++i) {
        ARROW_RETURN_NOT_OK(Receive(0, sockets_->incoming(0).data(), bytes));
      }
      return Send(0, &word, sizeof(word));
    }
    return arrow::Status::OK();
  }

 private:
  arrow::Status Send(int peer, const void* data, int64_t bytes) override { return sockets_->Send(peer, data, bytes); }
  arrow::Status Receive(int peer, void* data, int64_t bytes) override { return sockets_->Receive(peer, data, bytes); }

  std::unique_ptr<RawSockets> sockets_;
};

}  // namespace

arrow::Result<std::unique_ptr<Way>> MakeSocketWay(Context& context, int64_t most_bytes, const RawPlace& own) {
  ARROW_ASSIGN_OR_RAISE(auto sockets, RawSockets::Connect(context, most_bytes, own));
  return std::make_unique<SocketWay>(context.rank(), context.world_size(), std::move(sockets));
}

}  // namespace cylon::bench
