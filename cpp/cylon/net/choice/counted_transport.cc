// Counts on the way to a transport.
#include "cylon/net/choice/counted_transport.h"

#include <utility>

namespace cylon {

namespace {

class CountedTransport final : public Transport {
 public:
  CountedTransport(std::unique_ptr<Transport> transport, std::shared_ptr<SentCount> count)
      : transport_(std::move(transport)), count_(std::move(count)) {}

  const Traits& traits() const override { return transport_->traits(); }
  arrow::Future<> Start(Sink* sink) override { return transport_->Start(sink); }
  arrow::Future<> Send(Rank to, Message message) override {
    count_->Add(to, message, transport_->way(to) == kRelayWay);
    return transport_->Send(to, std::move(message));
  }
  void Progress() override { transport_->Progress(); }
  std::string way(Rank peer) const override { return transport_->way(peer); }
  arrow::Future<> Flush() override { return transport_->Flush(); }
  arrow::Future<> Close() override { return transport_->Close(); }
  void Abort() override { transport_->Abort(); }

 private:
  std::unique_ptr<Transport> transport_;
  std::shared_ptr<SentCount> count_;
};

}  // namespace

SentCount::SentCount(const std::string& name, int world_size, const Prices& prices)
    : last_(static_cast<size_t>(world_size), {kNone, kNone}) {
  uses_.push_back({name, prices.Of(name), {-1, 0}});
  if (name == "punch") {
    uses_.push_back({kRelayWay, prices.Of(kRelayWay), {-1, 0}});
  }
}

void SentCount::Add(Rank to, const Message& message, bool relayed) {
  const auto traffic = static_cast<size_t>(TrafficOf(message.channel));
  const std::lock_guard<std::mutex> lock(mutex_);
  const size_t now = relayed ? uses_.size() - 1 : 0;
  auto& last = last_[static_cast<size_t>(to)][traffic];
  if (last != static_cast<int8_t>(now)) {
    if (last != kNone) {
      --uses_[static_cast<size_t>(last)].pairs[traffic];
    }
    ++uses_[now].pairs[traffic];
    last = static_cast<int8_t>(now);
  }
  ++uses_[now].messages[traffic];
  uses_[now].bytes[traffic] += message.payload_bytes();
}

std::vector<ChannelUse> SentCount::Uses() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return uses_;
}

std::unique_ptr<Transport> CountSent(std::unique_ptr<Transport> transport, std::shared_ptr<SentCount> count) {
  return std::make_unique<CountedTransport>(std::move(transport), std::move(count));
}

}  // namespace cylon
