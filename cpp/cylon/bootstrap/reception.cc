// Who is let in at a server's port.
#include "cylon/bootstrap/reception.h"

#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/rendezvous_protocol.h"
#include "cylon/wire/conversation.h"
#include "cylon/wire/strangers.h"

namespace cylon {

/// A connection that has not proven itself: its bytes are looked at, or its handshake is under way.
struct Reception::Stranger {
  std::string peer;
  bool gave_way = false;
  bool probes = false;
  Stream* looked_at = nullptr;
  std::shared_ptr<Opening> opening = std::make_shared<Opening>();

  void Close() {
    opening->Close();
    if (looked_at != nullptr) {
      looked_at->Close();
    }
  }
};

namespace {

const char* ReasonOf(const arrow::Status& status) {
  return IsError(status, ErrorKind::kAuthentication) ? "secret"
         : IsError(status, ErrorKind::kProtocol)     ? "protocol"
         : IsError(status, ErrorKind::kDeadline)     ? "slow"
         : status.IsInvalid()                        ? "settings"
                                                     : "left";
}

}  // namespace

Reception::Reception(AsioExecutor& executor, Security security, ReceptionRules rules)
    : executor_(executor), security_(std::move(security)), rules_(std::move(rules)) {}

arrow::Status Reception::Open(const std::shared_ptr<Reception>& self, const HostPort& listen) {
  ARROW_ASSIGN_OR_RAISE(self->listener_,
                        ListenTcp(self->executor_.io(), listen, [weak = std::weak_ptr<Reception>(self)](auto stream) {
                          if (const auto open = weak.lock()) {
                            Admit(open, std::move(stream));
                          }
                        }));
  return arrow::Status::OK();
}

void Reception::Close() {
  listener_.reset();
  for (const auto& stranger : std::exchange(strangers_, {})) {
    stranger->Close();
  }
}

void Reception::Admit(const std::shared_ptr<Reception>& self, std::unique_ptr<Stream> stream) {
  if (self->served_ >= self->rules_.most) {
    self->rules_.on_refused({"full", stream->peer_name(),
                             arrow::Status::CapacityError("the port serves ", self->served_, " already, its limit")});
    return;  // the stream closes as it goes
  }
  while (self->strangers_.size() >= kStrangersAtOnce) {
    const auto oldest = self->strangers_.front();
    self->strangers_.pop_front();
    oldest->gave_way = true;
    oldest->Close();  // it has had its chance
  }
  const auto stranger = std::make_shared<Stranger>();
  stranger->peer = stream->peer_name();
  self->strangers_.push_back(stranger);
  internal::DriveVoid(Welcome(self, std::move(stream), stranger), arrow::Future<>::Make());
}

Co<void> Reception::Welcome(std::shared_ptr<Reception> self, std::unique_ptr<Stream> stream, StrangerPtr stranger) {
  auto letting_in = LetIn(self, std::move(stream), stranger);
  auto opened = co_await letting_in;
  self->strangers_.remove(stranger);
  if (!opened.ok()) {
    if (!opened.status().IsCancelled()) {
      const char* reason = stranger->gave_way ? "gave_way" : stranger->probes ? "probe" : ReasonOf(opened.status());
      self->rules_.on_refused({reason, stranger->peer, opened.status()});
    }
    co_return opened.status();
  }
  ++self->served_;
  auto serving = self->rules_.serve(*std::move(opened));
  const arrow::Status status = co_await serving;
  --self->served_;
  co_return status;
}

/// A probe that was answered is Cancelled: it is over, and was no offence.
Co<OpenedStream> Reception::LetIn(std::shared_ptr<Reception> self, std::unique_ptr<Stream> stream,
                                  StrangerPtr stranger) {
  std::string begun;
  if (self->rules_.judge_probe) {
    stranger->looked_at = stream.get();
    {
      internal::Conversation talk(stream.get(), self->executor_, kNever);
      auto looking = talk.ReceiveRaw(kProbeMagic.size());
      auto first = co_await looking;
      if (!first.ok()) {
        stranger->looked_at = nullptr;
        co_return first.status();
      }
      begun = *std::move(first);
    }
    if (begun == kProbeMagic) {
      stranger->probes = true;
      auto answering = AnswerProbe(stream.get(), &self->executor_, self->rules_.judge_probe);
      const auto good = co_await answering;
      stranger->looked_at = nullptr;
      CYLON_CO_RETURN_NOT_OK(good.status());
      co_return *good ? arrow::Status::Cancelled("a probe was answered")
                      : arrow::Status::IOError("a probe showed no token that is good here");
    }
    stranger->looked_at = nullptr;
  }
  if (!self->rules_.serve) {
    stream->Close();
    co_return arrow::Status::IOError("this port is for probes alone");
  }
  auto proving = OpenAsListener(std::move(stream), self->executor_, self->security_, self->rules_.self, kNever,
                                stranger->opening, std::move(begun));
  co_return co_await proving;
}

}  // namespace cylon
