// The face of what chooses between transports.
#include "cylon/net/choice/choice_transport.h"

#include <utility>

#include "cylon/net/choice/choice_core.h"

namespace cylon {

namespace {

class Choice final : public ChoiceTransport {
 public:
  explicit Choice(std::shared_ptr<internal::ChoiceCore> core) : core_(std::move(core)) {}
  ~Choice() override { core_->TearDown(); }
  Choice(const Choice&) = delete;
  Choice& operator=(const Choice&) = delete;

  const Traits& traits() const override { return core_->traits(); }
  arrow::Future<> Start(Sink* sink) override { return core_->Start(sink); }
  arrow::Future<> Send(Rank to, Message message) override { return core_->Send(to, std::move(message)); }
  void Progress() override { core_->Progress(); }
  std::string way(Rank peer) const override { return core_->way(peer); }
  arrow::Future<> Flush() override { return core_->Flush(); }
  arrow::Future<> Close() override { return core_->Close(); }
  void Abort() override { core_->Abort(); }
  std::function<std::vector<ChannelUse>()> Teller() const override {
    return [core = core_] { return core->Uses(); };
  }

 private:
  std::shared_ptr<internal::ChoiceCore> core_;
};

}  // namespace

std::unique_ptr<ChoiceTransport> ChoiceTransport::Make(Executor& executor, Rank rank, int world_size,
                                                       std::vector<Channel> channels, const ChoiceSettings& settings) {
  return std::make_unique<Choice>(
      std::make_shared<internal::ChoiceCore>(executor, rank, world_size, std::move(channels), settings));
}

}  // namespace cylon
