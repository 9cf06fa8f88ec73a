// Probes whose first packets are lost.
#include "cylon/bootstrap/probe.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <asio/ip/tcp.hpp>

#include "cylon/bootstrap/rendezvous_protocol.h"
#include "cylon/bootstrap/testing/dialling.h"
#include "cylon/wire/conversation.h"
#include "cylon/wire/socket_stream.h"

namespace cylon::testing {
namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;

Co<bool> AnswerOne(Stream* stream, Executor* executor) {
  internal::Conversation talk(stream, *executor, kNever);
  auto magic = talk.ReceiveRaw(kProbeMagic.size());
  CYLON_CO_RETURN_NOT_OK((co_await magic).status());
  auto answering = AnswerProbe(stream, executor, [](const std::string&, const HostPort&) { return true; });
  co_return co_await answering;
}

TEST(ProbeTest, OneWhoseFirstPacketsAreLostIsBegunAnewFromTheSamePort) {
  AsioExecutor executor("probe");
  tcp::acceptor acceptor(executor.io());
  acceptor.open(tcp::v4());
  acceptor.bind({asio::ip::address_v4::loopback(), 0});
  acceptor.listen(0);  // a backlog of one: the kernel drops who dials while it is full
  const auto to = acceptor.local_endpoint();
  tcp::socket first(executor.io());
  first.connect(to);

  tcp::socket holder(executor.io());  // of the port that is to be seen
  holder.open(tcp::v4());
  const int on = 1;
  ASSERT_EQ(::setsockopt(holder.native_handle(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
  ASSERT_EQ(::setsockopt(holder.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
  holder.bind({tcp::v4(), 0});
  const uint16_t local_port = holder.local_endpoint().port();

  const auto deadline = executor.Now() + 60s;
  auto probing =
      Spawn(executor, ProbeFrom(&executor, local_port, {"127.0.0.1", to.port()},
                                std::string(kRendezvousNonceBytes, 't'), 200ms, deadline, arrow::Future<>::Make()));
  const auto lost = NextDialling(to.port(), "", deadline);
  ASSERT_NE(lost, "");
  ASSERT_NE(NextDialling(to.port(), lost, deadline), "");
  acceptor.accept();  // the first, so that there is room
  tcp::socket taken = acceptor.accept();
  const auto from = taken.remote_endpoint();
  std::unique_ptr<Stream> stream = std::make_unique<internal::SocketStream<tcp::socket>>(
      std::move(taken), "127.0.0.1:" + std::to_string(from.port()), true);
  const auto answered = executor.Await(Spawn(executor, AnswerOne(stream.get(), &executor)), deadline);
  EXPECT_TRUE(answered.ok() && *answered) << answered.status();
  const auto seen = executor.Await(probing, deadline);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->port, local_port);
  ASSERT_TRUE(executor
                  .RunTask([&] {
                    stream.reset();
                    return arrow::Status::OK();
                  })
                  .ok());
}

}  // namespace
}  // namespace cylon::testing
