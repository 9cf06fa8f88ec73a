// Tests of what ranks that are threads of one process owe each other beyond the conformance suite.
#include "cylon/net/inproc/inproc.h"

#include <gtest/gtest.h>

#include <future>

#include "cylon/base/asio_executor.h"

namespace cylon {
namespace {

struct DeafSink : Sink {
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes&) override {
    return Buffers{};
  }
  void OnMessage(Rank, Message) override {}
  void OnPeerLost(Rank, const arrow::Status&) override {}
};

TEST(InprocTransportTest, AGoodbyeDoesNotOvertakeTheStart) {
  AsioExecutor first_executor("first");
  AsioExecutor last_executor("last");
  InprocHub hub(2);
  DeafSink sink;
  auto first = hub.MakeTransport(0, first_executor);
  auto last = hub.MakeTransport(1, last_executor);
  std::promise<void> begun;
  std::promise<void> closed;
  first_executor.Post([&] {
    first->Start(&sink).AddCallback([&](const arrow::Status&) {
      (void)first->Close();
      closed.set_value();
    });
    begun.set_value();
  });
  begun.get_future().wait();
  auto started = arrow::Future<>::Make();
  last_executor.Post([&] {
    last->Start(&sink).AddCallback([&](const arrow::Status& status) { started.MarkFinished(status); });
    // The other rank hears that all have started and leaves, all within this task.
    closed.get_future().wait();
  });
  ASSERT_TRUE(last_executor.Wait(started, last_executor.Now() + std::chrono::seconds(60)).ok());
  EXPECT_TRUE(started.status().ok()) << started.status();
  first.reset();
  last.reset();
}

}  // namespace
}  // namespace cylon
