// How a process shows its port to the server, and tells a peer where it is.
#include "cylon/net/punch/announcer.h"

#include <utility>

#include "cylon/net/punch/candidates.h"

namespace cylon::internal {

arrow::Result<std::shared_ptr<PunchPort>> Announcer::Port(bool fresh) {
  if (fresh) {
    return PunchPort::Open(executor_);
  }
  if (port_ == nullptr) {
    ARROW_ASSIGN_OR_RAISE(port_, PunchPort::Open(executor_));
  }
  return port_;
}

void Announcer::Close() {
  closed_ = true;
  under_way_.clear();  // who waits for them holds this
  if (port_ != nullptr) {
    port_->Close();
  }
}

Co<void> Announcer::Announce(std::shared_ptr<Announcer> self, std::shared_ptr<PunchPort> port, std::string to,
                             TimePoint until, Write write) {
  arrow::Future<> told;
  {
    struct Turn {
      arrow::Future<> over = arrow::Future<>::Make();
      ~Turn() { over.MarkFinished(); }
    } turn;
    auto before = std::exchange(self->turn_, turn.over);
    CYLON_CO_RETURN_NOT_OK(co_await before);
    auto shown = Show(self, port, until);
    CYLON_CO_RETURN_NOT_OK(co_await shown);
    auto hosts =
        self->options_.hosts ? *self->options_.hosts : arrow::Result<std::vector<std::string>>(InterfaceHosts());
    CYLON_CO_RETURN_NOT_OK(hosts.status());
    const auto own = OwnCandidates(*hosts, port->number(), self->options_.loopback);
    const Letter letter = write(self->letters_->courier().seen(), own);
    told = StartNow(TellWhoMayReturn(self->letters_, &self->executor_, to, letter, until));
    self->under_way_.push_back(told);
  }
  const arrow::Status status = co_await told;
  std::erase_if(self->under_way_, [](const auto& each) { return each.is_finished(); });
  co_return status;
}

/// Lets the server see `port`, unless that is what it saw last, and not long ago.
Co<void> Announcer::Show(std::shared_ptr<Announcer> self, std::shared_ptr<PunchPort> port, TimePoint until) {
  const auto check = [&] {
    if (self->closed_) {
      return arrow::Status::Cancelled("this rank is closing");
    }
    return self->executor_.Now() < until ? arrow::Status::OK() : arrow::Status::IOError("its time is over");
  };
  CYLON_CO_RETURN_NOT_OK(check());
  if (self->probed_ == port->number() && self->executor_.Now() - self->probed_at_ < kProbeLasts) {
    co_return arrow::Status::OK();
  }
  const auto letters = std::exchange(self->under_way_, {});
  for (const auto& told : letters) {
    static_cast<void>(co_await told);  // it says itself what became of it
  }
  CYLON_CO_RETURN_NOT_OK(check());
  self->probed_ = 0;
  auto probe = self->letters_->courier().Probe(port->number(), until);
  const auto seen = co_await probe;
  if (!seen.ok()) {
    co_return arrow::Status::IOError("cannot learn at which public address this process is: ", seen.status().message());
  }
  self->probed_ = port->number();
  self->probed_at_ = self->executor_.Now();
  co_return arrow::Status::OK();
}

}  // namespace cylon::internal
