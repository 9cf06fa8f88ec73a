// The communicator of a context.
#include <cstring>
#include <deque>
#include <numeric>

#include "way.h"

namespace cylon::bench {

namespace {

/// Messages of a stream that are under way at once, as programs that care for bandwidth have.
constexpr size_t kWindow = 16;
constexpr int64_t kDataTag = 1;
constexpr int64_t kWordTag = 2;

class OwnWay final : public Way {
 public:
  OwnWay(std::shared_ptr<Context> context, std::string transport, int64_t most_bytes)
      : context_(std::move(context)), transport_(std::move(transport)) {
    std::string bytes(static_cast<size_t>(most_bytes), '\0');
    std::iota(bytes.begin(), bytes.end(), static_cast<char>(context_->rank()));
    outgoing_ = arrow::Buffer::FromString(std::move(bytes));
    const int64_t one = context_->rank() + 1;
    number_ = arrow::Buffer::FromString(std::string(sizeof(one), '\0'));
    std::memcpy(number_->mutable_data(), &one, sizeof(one));
  }

  std::string name() const override { return transport_; }
  arrow::Status Barrier() override { return communicator().Barrier(); }

  arrow::Status AllReduce() override {
    ARROW_ASSIGN_OR_RAISE(const auto reduced, communicator().AllReduce(number_, arrow::Type::INT64, ReduceOp::kSum));
    int64_t sum = 0;
    std::memcpy(&sum, reduced->data(), sizeof(sum));
    const int64_t size = communicator().size();
    return sum == size * (size + 1) / 2 ? arrow::Status::OK()
                                        : arrow::Status::Invalid("the sum over ", size, " ranks came out as ", sum);
  }

  arrow::Status AllToAll(int64_t bytes) override {
    const auto part = arrow::SliceBuffer(outgoing_, 0, bytes);
    Buffers values(static_cast<size_t>(communicator().size()), part);
    values[communicator().rank()] = arrow::SliceBuffer(outgoing_, 0, 0);
    ARROW_ASSIGN_OR_RAISE(const auto received, communicator().AllToAll(std::move(values)));
    for (int peer = 0; peer < communicator().size(); ++peer) {
      if (peer != communicator().rank()) {
        ARROW_RETURN_NOT_OK(Check(peer, *received[peer], bytes));
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status Stream(int64_t bytes, int count) override {
    if (communicator().rank() == 0) {
      std::deque<arrow::Future<>> sends;
      for (int i = 0; i < count; ++i) {
        if (sends.size() == kWindow) {
          ARROW_RETURN_NOT_OK(communicator().Await(sends.front()));
          sends.pop_front();
        }
        sends.push_back(communicator().SendAsync(1, arrow::SliceBuffer(outgoing_, 0, bytes), kDataTag));
      }
      for (const auto& send : sends) {
        ARROW_RETURN_NOT_OK(communicator().Await(send));
      }
      return communicator().Receive(1, kWordTag).status();
    }
    if (communicator().rank() == 1) {
      std::deque<arrow::Future<std::shared_ptr<arrow::Buffer>>> receives;
      for (int i = 0, asked = 0; i < count; ++i) {
        for (; asked < count && receives.size() < kWindow; ++asked) {
          receives.push_back(communicator().ReceiveAsync(0, kDataTag));
        }
        ARROW_ASSIGN_OR_RAISE(const auto received, communicator().Await(receives.front()));
        receives.pop_front();
        ARROW_RETURN_NOT_OK(Check(0, *received, bytes));
      }
      return communicator().Send(0, arrow::SliceBuffer(outgoing_, 0, 1), kWordTag);
    }
    return arrow::Status::OK();
  }

 private:
  Communicator& communicator() { return context_->communicator(); }

  static arrow::Status Check(int peer, const arrow::Buffer& received, int64_t bytes) {
    if (received.size() != bytes ||
        received.data()[bytes - 1] != static_cast<uint8_t>(peer + static_cast<int>(bytes - 1))) {
      return arrow::Status::Invalid("from rank ", peer, " came ", received.size(), " bytes, or others than it sent; ",
                                    "expected ", bytes);
    }
    return arrow::Status::OK();
  }

  std::shared_ptr<Context> context_;
  std::string transport_;
  std::shared_ptr<arrow::Buffer> outgoing_;
  std::shared_ptr<arrow::Buffer> number_;
};

}  // namespace

std::unique_ptr<Way> MakeOwnWay(std::shared_ptr<Context> context, std::string transport, int64_t most_bytes) {
  return std::make_unique<OwnWay>(std::move(context), std::move(transport), most_bytes);
}

}  // namespace cylon::bench
