// Lanes: the two halves, put over a transport.
#include "cylon/net/lanes.h"

#include <string>
#include <utility>
#include <vector>

#include "cylon/net/lane_frame.h"
#include "cylon/net/lane_receiver.h"
#include "cylon/net/lane_sender.h"

namespace cylon {

using internal::LaneFrame;
using internal::LaneReceiver;
using internal::LaneSender;
using internal::LaneType;

Receiver::~Receiver() = default;
LanesObserver::~LanesObserver() = default;
void LanesObserver::OnPeerMet(Rank /*peer*/) {}

bool Receiver::Admit(Rank /*from*/, int64_t /*bytes*/) { return true; }

class Lanes::Impl : public Sink, public std::enable_shared_from_this<Lanes::Impl> {
 public:
  Impl(Rank own_rank, int size, std::unique_ptr<Transport> own_transport, Executor& own_executor,
       arrow::MemoryPool* pool, const LanesOptions& options)
      : rank(own_rank),
        executor(own_executor),
        transport(std::move(own_transport)),
        sender(std::make_shared<LaneSender>(rank, size, transport.get(), options)),
        receiver(std::make_shared<LaneReceiver>(rank, size, executor, sender.get(), pool, options)),
        told_(static_cast<size_t>(size)) {}

  int size() const { return static_cast<int>(told_.size()); }

  arrow::Future<> Send(Rank to, Message message) {
    ARROW_RETURN_NOT_OK(sender->Check(to, message));
    if (to != rank) {
      return sender->Send(to, std::move(message));
    }
    auto sent = sender->AddLocal();
    executor.Post([weak = weak_from_this(), ticket = sent.id, message = std::move(message)]() mutable {
      if (auto self = weak.lock()) {
        self->ArriveLocal(std::move(message), ticket);
      }
    });
    return sent.done;
  }

  arrow::Future<> Shutdown() {
    receiver->DiscardUnopened();
    auto done = arrow::Future<>::Make();
    sender->Flush().AddCallback([weak = weak_from_this(), done](const arrow::Status&) mutable {
      auto self = weak.lock();
      if (self == nullptr || self->transport == nullptr) {
        done.MarkFinished(arrow::Status::Cancelled("the lanes were destroyed while they shut down"));
        return;
      }
      self->transport->Close().AddCallback([done](const arrow::Status& status) mutable { done.MarkFinished(status); });
    });
    return done;
  }

  void Abort() {
    transport->Abort();
    sender->Close(arrow::Status::Cancelled("rank ", rank, " has closed its lanes"));
  }

  /// The end: nothing is called back after this but futures of sends.
  void TearDown() {
    observer = nullptr;
    receiver->Silence();
    sender->Close(arrow::Status::Cancelled("rank ", rank, " has closed its lanes"));
    transport.reset();
  }

  // What the transport tells.
  arrow::Result<Buffers> Allocate(Rank from, const ChannelId& channel, const InlineBytes& header,
                                  const Sizes& sizes) override {
    if (from < 0 || from >= size() || from == rank) {
      return ProtocolError(
          "a message came from rank " + std::to_string(from) + "; there are " + std::to_string(size()) + " ranks",
          from);
    }
    ARROW_RETURN_NOT_OK(condemned_[from]);
    InlineBytes user_header;
    ARROW_ASSIGN_OR_RAISE(auto frame, internal::DecodeLaneFrame(from, channel, header, &user_header));
    switch (frame.type) {
      case LaneType::kControl:
        return AllocateControl(from, frame, sizes);
      case LaneType::kEager:
        return receiver->AllocateEager(from, channel, frame, sizes);
      case LaneType::kSizes:
        return receiver->AllocateSizes(from, channel, frame, sizes);
      case LaneType::kPiece:
        return receiver->AllocatePiece(from, channel, frame, sizes);
      default:
        if (!sizes.empty()) {
          return ProtocolError("rank " + std::to_string(from) + " sent payload with a frame of type " +
                                   std::to_string(static_cast<int>(frame.type)) + ", which has none",
                               from);
        }
        return Buffers{};
    }
  }

  void OnMessage(Rank from, Message message) override {
    auto keep = shared_from_this();  // a receiver may destroy the lanes' owner
    InlineBytes user_header;
    auto frame = internal::DecodeLaneFrame(from, message.channel, message.header, &user_header);
    if (!frame.ok() || told_[from]) {
      return;  // Allocate refused it, or the loss was told already
    }
    auto status = sender->OnCredit(from, frame->credit);
    if (status.ok()) {
      status = Dispatch(from, *frame, user_header, std::move(message));
    }
    if (!status.ok()) {
      // The transport has no call to drop a peer; its next message is refused, which does.
      condemned_[from] = status;
      PeerLost(from, status);
    }
  }

  void OnPeerMet(Rank peer) override {
    if (observer != nullptr) {
      observer->OnPeerMet(peer);
    }
  }

  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    auto keep = shared_from_this();
    PeerLost(peer, cause);
  }

  const Rank rank;
  Executor& executor;
  std::unique_ptr<Transport> transport;
  std::shared_ptr<LaneSender> sender;
  std::shared_ptr<LaneReceiver> receiver;
  LanesObserver* observer = nullptr;

 private:
  arrow::Result<Buffers> AllocateControl(Rank from, const LaneFrame& frame, const Sizes& sizes) {
    int64_t bytes = 0;
    for (const int64_t size : sizes) {
      if (size < 0 || size > kMaxControlBytes - bytes) {
        return ProtocolError("rank " + std::to_string(from) + " sent a control message of more than " +
                                 std::to_string(kMaxControlBytes) + " bytes",
                             from);
      }
      bytes += size;
    }
    if (frame.segments != sizes.size()) {
      return ProtocolError("rank " + std::to_string(from) + " sent a control message of " +
                               std::to_string(sizes.size()) + " segments that claims " + std::to_string(frame.segments),
                           from);
    }
    // Outside the budget: what is said over these must be heard when memory is short.
    return internal::AllocateSegments(sizes, arrow::system_memory_pool());
  }

  arrow::Status Dispatch(Rank from, const LaneFrame& frame, const InlineBytes& user_header, Message message) {
    switch (frame.type) {
      case LaneType::kControl:
        if (observer != nullptr) {
          observer->OnControl(from, Message{message.channel, user_header, std::move(message.segments)});
        }
        return arrow::Status::OK();
      case LaneType::kEager:
        receiver->OnEager(from, message.channel, user_header, std::move(message.segments));
        return arrow::Status::OK();
      case LaneType::kAnnounce:
        return receiver->OnAnnounce(from, message.channel, frame, user_header);
      case LaneType::kGrant:
        return sender->OnGrant(from, message.channel, frame.message);
      case LaneType::kSizes:
        return receiver->OnSizes(from, frame, message.segments);
      case LaneType::kPiece:
        return receiver->OnPiece(from, frame, message.payload_bytes());
      case LaneType::kDiscard:
        sender->OnDiscard(from, message.channel, frame.message);
        return arrow::Status::OK();
      case LaneType::kStop:
        return receiver->OnStop(from, frame);
      case LaneType::kCredit:
        return arrow::Status::OK();
    }
    return arrow::Status::OK();
  }

  void ArriveLocal(Message message, uint64_t ticket) {
    if (message.channel.kind != ChannelKind::kControl) {
      receiver->ArriveLocal(std::move(message), ticket);
      return;
    }
    if (observer != nullptr) {
      observer->OnControl(rank, std::move(message));
    }
    sender->FinishLocal(ticket);
  }

  void PeerLost(Rank peer, const arrow::Status& cause) {
    if (told_[peer]) {
      return;
    }
    told_[peer] = true;
    receiver->PeerLost(peer);
    sender->PeerLost(peer, cause);
    if (observer != nullptr) {
      observer->OnPeerLost(peer, cause);
    }
  }

  std::vector<bool> told_;
  std::vector<arrow::Status> condemned_{told_.size()};
};

Lanes::Lanes(Rank rank, int world_size, std::unique_ptr<Transport> transport, Executor& executor,
             arrow::MemoryPool* pool, LanesOptions options)
    : impl_(std::make_shared<Impl>(rank, world_size, std::move(transport), executor, pool, options)) {}

Lanes::~Lanes() {
  auto impl = std::move(impl_);
  auto& executor = impl->executor;
  if (executor.InTask()) {
    impl->TearDown();
    return;
  }
  const auto status = executor.RunTask([impl] {
    impl->TearDown();
    return arrow::Status::OK();
  });
  // An executor that runs no tasks any more (a killed rank's) has dropped ours: then nothing else is running either.
  if (!status.ok() && impl.use_count() == 1) {
    impl->TearDown();
  }
}

Rank Lanes::rank() const { return impl_->rank; }
int Lanes::world_size() const { return impl_->size(); }
Executor& Lanes::executor() { return impl_->executor; }
Transport& Lanes::transport() { return *impl_->transport; }

arrow::Future<> Lanes::Start(LanesObserver* observer) {
  impl_->observer = observer;
  return impl_->transport->Start(impl_.get());
}

arrow::Future<> Lanes::Send(Rank to, Message message) { return impl_->Send(to, std::move(message)); }

void Lanes::Open(const ChannelId& channel, Receiver* receiver, arrow::MemoryPool* pool) {
  impl_->receiver->Open(channel, receiver, pool);
}

void Lanes::Close(const ChannelId& channel) { impl_->receiver->Close(channel); }

void Lanes::CloseCommunicator(uint32_t communicator) { impl_->receiver->CloseCommunicator(communicator); }

void Lanes::Retry(const ChannelId& channel) { impl_->receiver->Retry(channel); }

arrow::Future<> Lanes::Flush() { return impl_->sender->Flush(); }

arrow::Future<> Lanes::Shutdown() { return impl_->Shutdown(); }

void Lanes::Abort() { impl_->Abort(); }

int64_t Lanes::bytes_sent() const { return impl_->sender->bytes_sent(); }

int64_t Lanes::bytes_received() const { return impl_->receiver->bytes_received(); }

}  // namespace cylon
