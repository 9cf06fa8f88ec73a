// What lanes promise, over every transport.
#include <random>
#include <set>

#include "cylon/net/choice/testing/two_channels.h"
#include "cylon/net/interval_set.h"
#include "cylon/net/lanes_conformance.h"
#include "cylon/net/mesh/testing/byte_world.h"
#include "cylon/net/object/testing/object_world.h"
#include "cylon/net/redis/testing/redis_world.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

class LanesTest : public LanesCase {};

TEST_P(LanesTest, EverySizeArrivesInOrder) {
  const LanesOptions options{.piece_bytes = 1 << 16};
  Run(
      2,
      [&](LanesNode& node, uint64_t) {
        const Rank other = 1 - node.rank;
        CountingReader reader;
        const std::vector<int64_t> sizes{0, 1, 63, 64, 65, 4095, 8192, 8193, 65535, 65536, 65537, 300000, 5};
        reader.expected = static_cast<int64_t>(sizes.size()) + 3;
        ARROW_RETURN_NOT_OK(node.Do([&] {
          node.lanes->Open(TestChannel(0), &reader, &node.pool);
          std::ignore = node.Send(other, 0, {});
          std::ignore = node.Send(other, 0, {0, 100000, 0, 0, 7, 70000, 0});
          std::ignore = node.Send(other, 0, std::vector<int64_t>(3000, 11));
          for (auto size : sizes) {
            std::ignore = node.Send(other, 0, {size});
          }
        }));
        ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
        ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Close(TestChannel(0)); }));
        ARROW_RETURN_NOT_OK(node.Shutdown());
        EXPECT_EQ(node.lanes->bytes_received(), reader.bytes);
        EXPECT_EQ(node.lanes->bytes_sent(), reader.bytes);
        EXPECT_EQ(node.pool.bytes_allocated(), 0);
        return arrow::Status::OK();
      },
      options);
}

TEST_P(LanesTest, EarlyMessagesWaitWithinTheWindowUntilTheChannelOpens) {
  Run(2, [&](LanesNode& node, uint64_t) {
    const int messages = 500;
    if (node.rank == 0) {
      CountingReader ready;
      ready.expected = 1;
      ARROW_RETURN_NOT_OK(node.Do([&] {
        node.lanes->Open(TestChannel(1), &ready);
        for (int i = 0; i < messages; ++i) {
          std::ignore = node.Send(1, 0, {i == 300 ? 50000 : 1000});
        }
        // Another channel is not held up by one that nobody opens.
        std::ignore = node.Send(1, 2, {200000});
      }));
      ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, ready.all));
      return node.Shutdown();
    }
    CountingReader late;
    CountingReader other;
    late.expected = messages;
    other.expected = 1;
    ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(2), &other); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, other.all));
    // Channels overtake each other, so the first of the early messages may be still to come.
    for (int i = 0; i < 1000 && node.pool.bytes_allocated() == 0; ++i) {
      auto later = arrow::Future<>::Make();
      node.executor.PostAt(node.executor.Now() + std::chrono::milliseconds(1),
                           [later]() mutable { later.MarkFinished(); });
      ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, later));
    }
    EXPECT_GT(node.pool.bytes_allocated(), 0);
    EXPECT_LE(node.pool.max_memory(), 200000 + (64 << 10) + 1024);
    ARROW_RETURN_NOT_OK(node.Do([&] {
      node.lanes->Open(TestChannel(0), &late);
      EXPECT_EQ(late.count, 0) << "delivered inside Open";
    }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, late.all));
    ARROW_RETURN_NOT_OK(node.Do([&] { std::ignore = node.Send(0, 1, {}); }));
    return node.Shutdown();
  });
}

TEST_P(LanesTest, ControlOvertakesALargeMessage) {
  const int64_t large = std::min<int64_t>(GetParam().largest, 32 << 20);
  const LanesOptions options{.piece_bytes = large / 64};
  Run(
      2,
      [&](LanesNode& node, uint64_t) {
        CountingReader reader;
        reader.expected = 1;
        if (node.rank == 0) {
          arrow::Future<> sent;
          ARROW_RETURN_NOT_OK(node.Do([&] {
            // The other asks for this answer when it admits the large message. It leaves in the task that hears the
            // question: a thread that had to be woken first might come too late on a busy machine.
            node.first_control.AddCallback([&node](const arrow::Status&) {
              std::ignore = node.lanes->Send(1, Message{{1, 0, ChannelKind::kControl, 7}, {}, {Pattern(100, 0)}});
            });
            sent = node.Send(1, 0, {large});
          }));
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.first_control));
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, sent));
        } else {
          reader.admit = [&](int64_t) {
            std::ignore = node.lanes->Send(0, Message{{1, 0, ChannelKind::kControl, 6}, {}, {}});
            return true;
          };
          reader.on_message = [&] { EXPECT_EQ(node.controls.size(), 1U) << "control came behind the large message"; };
          ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(0), &reader); }));
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
          EXPECT_EQ(node.controls[0].second, 7U);
        }
        return node.Shutdown();
      },
      options, 5);
}

TEST_P(LanesTest, MessagesForAClosedChannelAreDiscardedAndTheirSendsFinish) {
  Run(2,
      [&](LanesNode& node, uint64_t) {
        CountingReader reader;
        CountingReader other;
        other.expected = 1;
        if (node.rank == 0) {
          // More than the window, more than may be announced, whole, waiting and in the middle.
          ARROW_RETURN_NOT_OK(node.Await([&] {
            for (int i = 0; i < 300; ++i) {
              std::ignore = node.Send(1, 0, {i % 3 == 0 ? 100000 : 900});
            }
            return node.lanes->Flush();
          }));
          ARROW_RETURN_NOT_OK(node.Await([&] { return node.Send(1, 1, {100000}); }));
        } else {
          int64_t left = 20;
          reader.on_message = [&] {
            if (--left == 0) {
              node.lanes->Close(TestChannel(0));  // inside a delivery
            }
          };
          ARROW_RETURN_NOT_OK(node.Do([&] {
            node.lanes->Open(TestChannel(0), &reader);
            node.lanes->Open(TestChannel(1), &other);
          }));
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, other.all));
          EXPECT_EQ(reader.count, 20);
        }
        ARROW_RETURN_NOT_OK(node.Shutdown());
        EXPECT_EQ(node.pool.bytes_allocated(), 0);
        return arrow::Status::OK();
      },
      {.piece_bytes = 10000});
}

TEST_P(LanesTest, ClosingACommunicatorDiscardsWhatWaitsForIt) {
  Run(2, [&](LanesNode& node, uint64_t) {
    if (node.rank == 0) {
      ARROW_RETURN_NOT_OK(node.Await([&] {
        for (uint64_t channel = 0; channel < 30; ++channel) {
          std::ignore = node.Send(1, channel, {50000});
          std::ignore = node.Send(1, channel, {10});
        }
        return node.lanes->Flush();
      }));
    } else {
      ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->CloseCommunicator(0); }));
    }
    return node.Shutdown();
  });
}

TEST_P(LanesTest, RefusedMemoryIsToldAndTheSendFinishes) {
  Run(2, [&](LanesNode& node, uint64_t) {
    CountingReader reader;
    if (node.rank == 0) {
      ARROW_RETURN_NOT_OK(node.Await([&] { return node.Send(1, 0, {1 << 20}); }));
      return node.Shutdown();
    }
    arrow::CappedMemoryPool small(&node.pool, 100000);
    ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(0), &reader, &small); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.failed));
    EXPECT_TRUE(reader.error.IsOutOfMemory()) << reader.error;
    return node.Shutdown();
  });
}

TEST_P(LanesTest, RefusedMemoryOfAMessageThatCameUnaskedIsToldInItsPlace) {
  Run(2,
      [&](LanesNode& node, uint64_t) {
        const ChannelId channel{1, 0, ChannelKind::kCollective, 0};
        CountingReader reader;
        if (node.rank == 0) {
          CountingReader open;  // over there
          open.expected = 1;
          ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(0), &open); }));
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, open.all));
          // The second one does not fit where it goes; it needs no grant, and nobody is asked for one.
          for (const uint64_t number : {0, 1}) {
            Message message{channel, InlineBytes::Of(number), {}};
            message.segments.push_back(Pattern(number == 0 ? 100 : 200000, number));
            ARROW_RETURN_NOT_OK(node.Await([&] { return node.lanes->Send(1, std::move(message)); }));
          }
          return node.Shutdown();
        }
        bool asked = false;
        reader.admit = [&](int64_t) { return asked = true; };
        arrow::CappedMemoryPool small(&node.pool, 100000);
        ARROW_RETURN_NOT_OK(node.Do([&] {
          node.lanes->Open(channel, &reader, &small);
          std::ignore = node.Send(0, 0, {1});
        }));
        ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.failed));
        EXPECT_TRUE(reader.error.IsOutOfMemory()) << reader.error;
        EXPECT_FALSE(asked);
        EXPECT_EQ(reader.count, 1);
        return node.Shutdown();
      },
      {.eager_bytes = 4 << 20});
}

TEST_P(LanesTest, ALostPeerFailsItsQueuedSendsAndFreesWhatWasPartial) {
  Run(3, [&](LanesNode& node, uint64_t) {
    CountingReader reader;
    if (node.rank == 1) {
      // Leaves when it has begun to receive from both others, and to send to them.
      int asked = 0;
      auto both = arrow::Future<>::Make();
      reader.admit = [&](int64_t) {
        if (++asked == 2) {
          both.MarkFinished();
        }
        return false;
      };
      ARROW_RETURN_NOT_OK(node.Do([&] {
        node.lanes->Open(TestChannel(0), &reader);
        std::ignore = node.Send(0, 0, {3 << 20});
        std::ignore = node.Send(2, 0, {3 << 20});
      }));
      ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, both));
      return node.Do([&] { node.lanes->Abort(); });
    }
    std::vector<arrow::Future<>> sent;
    ARROW_RETURN_NOT_OK(node.Do([&] {
      node.lanes->Open(TestChannel(0), &reader);
      for (int i = 0; i < 20; ++i) {
        sent.push_back(node.Send(1, 0, {300000}));
      }
    }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.first_lost));
    for (auto& each : sent) {
      EXPECT_TRUE(AwaitSoon(node.executor, each).IsIOError());
    }
    ARROW_RETURN_NOT_OK(node.Do([&] {
      EXPECT_TRUE(node.lost.contains(1));
      sent[0] = node.Send(1, 0, {1});
    }));
    auto late = AwaitSoon(node.executor, sent[0]);
    EXPECT_TRUE(late.IsIOError());
    EXPECT_THAT(late.message(), HasSubstr("rank 1"));
    ARROW_RETURN_NOT_OK(node.Shutdown());
    EXPECT_EQ(node.pool.bytes_allocated(), 0);
    return arrow::Status::OK();
  });
}

TEST_P(LanesTest, WhatCannotTravelIsRefusedWithAReason) {
  Run(
      2,
      [&](LanesNode& node, uint64_t) {
        const auto refused = [&](Rank to, Message message) {
          return node.Await([&] { return node.lanes->Send(to, std::move(message)); });
        };
        const std::vector<uint8_t> long_header(kMaxUserHeader + 1);
        auto status = refused(1 - node.rank, Message{TestChannel(0), InlineBytes(long_header), {}});
        EXPECT_TRUE(status.IsInvalid());
        EXPECT_THAT(status.message(), HasSubstr("header has 193 bytes; it may have 192"));
        EXPECT_THAT(refused(0, Message{TestChannel(0), {}, {nullptr}}).message(), HasSubstr("null"));
        EXPECT_THAT(refused(9, Message{TestChannel(0), {}, {}}).message(), HasSubstr("rank 9; there are 2 ranks"));
        EXPECT_THAT(refused(0, Message{TestChannel(0), {}, Buffers(kMaxLaneSegments + 1, Pattern(0, 0))}).message(),
                    HasSubstr("131073 segments"));
        EXPECT_THAT(refused(0, Message{{1, 0, ChannelKind::kControl, 0}, {}, {Pattern(70000, 0)}}).message(),
                    HasSubstr("70000 bytes"));
        return node.Shutdown();
      },
      {}, 1);
}

INSTANTIATE_TEST_SUITE_P(Transports, LanesTest,
                         ::testing::Values(SimSubject(), InprocSubject(), TcpSubject(), ShmSubject(), ByteSubject(),
                                           ChoiceSubject(), SplitChoiceSubject()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Redis, LanesTest, ::testing::ValuesIn(RedisSubjects()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Object, LanesTest, ::testing::Values(ObjectSubject()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Bucket, LanesTest, ::testing::ValuesIn(BucketSubjects()),
                         [](const auto& subject) { return subject.param.name; });

TEST(IntervalSetTest, ConsecutiveNumbersAreOneRange) {
  internal::IntervalSet set;
  std::set<uint64_t> all;
  std::mt19937_64 random(1);
  for (int i = 0; i < 500; ++i) {
    const uint64_t value = random() % 600;
    set.Insert(value);
    all.insert(value);
  }
  for (uint64_t value = 0; value < 610; ++value) {
    EXPECT_EQ(set.Contains(value), all.contains(value)) << value;
  }
  for (uint64_t value = 0; value < 600; ++value) {
    set.Insert(599 - value);
  }
  set.Insert(UINT64_MAX);
  EXPECT_TRUE(set.Contains(UINT64_MAX));
  EXPECT_EQ(set.ranges(), 2U);
}

}  // namespace
}  // namespace cylon::testing
