/// The face of a rank's end of a world whose messages go through a third party.
#pragma once

#include <memory>
#include <utility>

#include "cylon/net/mail/mail.h"
#include "cylon/net/transport.h"

namespace cylon::internal {

class MailTransport final : public Transport {
 public:
  explicit MailTransport(std::shared_ptr<Mail> mail) : mail_(std::move(mail)) {}
  ~MailTransport() override { mail_->Abort(); }
  MailTransport(const MailTransport&) = delete;
  MailTransport& operator=(const MailTransport&) = delete;

  const Traits& traits() const override { return traits_; }
  arrow::Future<> Start(Sink* sink) override { return mail_->Start(sink); }
  arrow::Future<> Send(Rank to, Message message) override { return mail_->Send(to, std::move(message)); }
  arrow::Future<> Flush() override { return mail_->Flush(); }
  arrow::Future<> Close() override { return mail_->Close(); }
  void Abort() override { mail_->Abort(); }

 private:
  std::shared_ptr<Mail> mail_;
  Traits traits_;
};

}  // namespace cylon::internal
