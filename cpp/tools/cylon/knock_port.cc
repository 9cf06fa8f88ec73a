// A port at which strangers are awaited.
#include "knock_port.h"

#include <sys/socket.h>

#include <asio/buffer.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/random.h"

namespace cylon::tools {

namespace {

using asio::ip::tcp;

/// A stranger who says nothing holds a socket until this program ends, and no more than so many do.
constexpr int kBacklog = 16;

std::span<uint8_t> BytesOf(std::string& text) {
  return {static_cast<uint8_t*>(static_cast<void*>(text.data())), text.size()};
}

}  // namespace

arrow::Result<KnockWords> KnockWords::Draw() {
  KnockWords words;
  ARROW_ASSIGN_OR_RAISE(words.knock, RandomBytes(kBytes));
  ARROW_ASSIGN_OR_RAISE(words.answer, RandomBytes(kBytes));
  return words;
}

arrow::Result<std::shared_ptr<KnockPort>> KnockPort::Open(AsioExecutor& executor, KnockWords words) {
  auto port = std::make_shared<KnockPort>(std::move(words));
  const auto four = port->Listen(executor, {tcp::v4(), 0});
  const auto six = port->Listen(executor, {tcp::v6(), port->number_});
  if (!four.ok() && !six.ok()) {
    return four;
  }
  return port;
}

arrow::Status KnockPort::Listen(AsioExecutor& executor, const tcp::endpoint& at) {
  auto acceptor = std::make_unique<tcp::acceptor>(executor.io());
  asio::error_code error;
  acceptor->open(at.protocol(), error);
  const int on = 1;
  if (!error) {
    acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  }
  if (!error && ::setsockopt(acceptor->native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
    return arrow::Status::IOError("cannot share a port: ", std::strerror(errno));
  }
  if (!error && at.protocol() == tcp::v6()) {
    acceptor->set_option(asio::ip::v6_only(true), error);
  }
  if (!error) {
    acceptor->bind(at, error);
  }
  if (!error) {
    acceptor->listen(kBacklog, error);
  }
  const auto bound = error ? tcp::endpoint() : acceptor->local_endpoint(error);
  if (error) {
    return arrow::Status::IOError("cannot listen on a port of this host: ", error.message(),
                                  "; check the limit of open files");
  }
  number_ = bound.port();
  acceptors_.push_back(std::move(acceptor));
  Accept(acceptors_.back().get());
  return arrow::Status::OK();
}

void KnockPort::Accept(tcp::acceptor* acceptor) {
  acceptor->async_accept([weak = weak_from_this(), acceptor](const asio::error_code& error, tcp::socket from) {
    const auto self = weak.lock();
    if (error || self == nullptr) {
      return;
    }
    auto socket = std::make_shared<tcp::socket>(std::move(from));
    auto said = std::make_shared<std::string>(KnockWords::kBytes, '\0');
    asio::async_read(*socket, asio::buffer(*said), [weak, socket, said](const asio::error_code& failed, size_t) {
      const auto here = weak.lock();
      if (!failed && here != nullptr && *said == here->words_.knock) {
        asio::async_write(*socket, asio::buffer(here->words_.answer),
                          [socket, here](const asio::error_code&, size_t) {});
      }
    });
    self->Accept(acceptor);
  });
}

void KnockPort::Close() {
  for (const auto& acceptor : acceptors_) {
    asio::error_code ignored;
    acceptor->close(ignored);
  }
}

Co<Stranger> KnockAt(AsioExecutor* executor, HostPort address, KnockWords words, TimePoint deadline) {
  const auto outcome = [](const arrow::Status& status) {
    return IsError(status, ErrorKind::kDeadline) ? Stranger::kNoAnswer
           : IsNobodyListening(status)           ? Stranger::kRefused
                                                 : Stranger::kNobodyDialled;
  };
  auto dialling = ConnectTcp(executor->io(), *executor, address, deadline);
  auto dialled = co_await dialling;
  if (!dialled.ok()) {
    co_return outcome(dialled.status());
  }
  const std::shared_ptr<Stream> stream = *std::move(dialled);
  auto timer = executor->PostAt(deadline, [stream] { stream->Close(); });
  auto writing = stream->Write({BytesOf(words.knock)});
  arrow::Status status = co_await writing;
  std::string heard(KnockWords::kBytes, '\0');
  if (status.ok()) {
    auto reading = stream->Read(BytesOf(heard));
    status = co_await reading;
  }
  timer->Cancel();
  // Whoever else listens there is not the one who was to be reached.
  co_return status.ok() && heard == words.answer ? Stranger::kArrives : Stranger::kNoAnswer;
}

}  // namespace cylon::tools
