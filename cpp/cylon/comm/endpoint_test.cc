// A peer that has proven itself and tells nonsense is dropped by name, and takes no memory without end.
#include "cylon/comm/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "cylon/net/sim/sim_world.h"

namespace cylon::internal {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr uint32_t kRevoked = 2;

Message Control(const std::string& header, const std::string& text) {
  return {ChannelId{1, 0, ChannelKind::kControl, 0},
          InlineBytes(std::span(reinterpret_cast<const uint8_t*>(header.data()), header.size())),
          {arrow::Buffer::FromString(text)}};
}

/// "The communicator `id`, whose lowest member is rank 0, is revoked."
Message Revocation(uint32_t id) {
  const uint32_t words[] = {kRevoked, id, 0};
  std::string header(sizeof(words), '\0');
  std::memcpy(header.data(), words, sizeof(words));
  return Control(header, Encode(Finding{Finding::Source::kItself, ErrorKind::kRankFailed, 1, "it gave up"}));
}

/// What rank 0 raises where rank 1 says all this.
arrow::Status Told(const std::vector<Message>& messages) {
  SimWorld sim(2, 1);
  arrow::Status raised;
  const auto ran = sim.Run([&](Rank rank) {
    auto& executor = sim.executor(rank);
    auto lanes = std::make_unique<Lanes>(rank, 2, sim.MakeTransport(rank), executor, arrow::default_memory_pool(),
                                         LanesOptions{});
    if (rank == 1) {
      struct Deaf : LanesObserver {
        void OnPeerLost(Rank, const arrow::Status&) override {}
        void OnControl(Rank, Message) override {}
      } deaf;
      arrow::Future<> flushed;
      ARROW_RETURN_NOT_OK(executor.RunTask([&] {
        (void)lanes->Start(&deaf);
        for (const auto& message : messages) {
          (void)lanes->Send(0, message);
        }
        flushed = lanes->Flush();
        return arrow::Status::OK();
      }));
      ARROW_RETURN_NOT_OK(executor.Await(flushed));
      return executor.RunTask([&] {
        lanes.reset();
        return arrow::Status::OK();
      });
    }
    World world;
    world.epoch = "00000001";
    world.cards.resize(2);
    auto endpoint = std::make_shared<Endpoint>(world, executor, std::move(lanes), nullptr, /*launcher=*/false);
    ARROW_RETURN_NOT_OK(executor.RunTask([&] {
      (void)endpoint->Start();
      return arrow::Status::OK();
    }));
    raised = executor.Await(endpoint->world_group()->revoked(), executor.Now() + 60s);
    return executor.RunTask([&] {
      endpoint->Shutdown(arrow::Status::Cancelled("the test is over"));
      return arrow::Status::OK();
    });
  });
  EXPECT_TRUE(ran.ok()) << ran;
  return raised;
}

TEST(EndpointTest, AControlMessageThatCannotBeReadIsTold) {
  EXPECT_THAT(Told({Control("short", "{}")}).message(), HasSubstr("rank 1 failed: it sent a control message that"));
  EXPECT_THAT(Told({Control(std::string(12, '\1'), "no finding")}).message(),
              HasSubstr("it sent a control message that cannot be read"));
}

TEST(EndpointTest, OfCommunicatorsThatAreNotMadeHereOnlySoManyMayEnd) {
  std::vector<Message> messages;
  for (uint32_t id = 0; id < 4096; ++id) {
    messages.push_back(Revocation(2 + id));
    messages.push_back(Revocation(2 + id));  // once more is none more
  }
  auto more = messages;
  more.push_back(Revocation(2 + 4096));
  EXPECT_THAT(Told(more).message(), HasSubstr("it told of the ends of more than 4096 communicators"));
  // Not one too early: it is its going that rank 0 raises.
  EXPECT_THAT(Told(messages).message(), HasSubstr("is gone"));
}

}  // namespace
}  // namespace cylon::internal
