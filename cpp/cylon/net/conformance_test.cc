// What every transport has to do, asked of it directly.
#include "cylon/net/conformance.h"

#include <map>

#include "cylon/net/choice/testing/two_channels.h"
#include "cylon/net/mesh/testing/byte_world.h"
#include "cylon/net/object/testing/object_world.h"
#include "cylon/net/punch/testing/punch_world.h"
#include "cylon/net/redis/testing/redis_world.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

/// Checks that each (sender, channel) counts up, keeps what was lost, and finishes futures when enough has come.
class Inbox : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    ARROW_RETURN_NOT_OK(refuse);
    Buffers out;
    for (auto size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      out.push_back(std::move(buffer));
    }
    return out;
  }

  void OnMessage(Rank from, Message message) override {
    uint64_t number = 0;
    EXPECT_TRUE(message.header.As(&number));
    auto& due = next[{from, message.channel.sequence}];
    EXPECT_EQ(number, due++);
    for (const auto& segment : message.segments) {
      EXPECT_TRUE(IsPattern(*segment, number));
    }
    bytes += message.payload_bytes();
    EXPECT_TRUE(lost.find(from) == lost.end()) << "a message after the loss of its sender";
    ++count;
    Look();
  }

  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    EXPECT_TRUE(lost.emplace(peer, cause).second) << "told twice";
    Look();
  }

  void Look() {
    if (count >= expected && !all.is_finished()) {
      all.MarkFinished();
    }
    if (lost.size() >= losses && !all_lost.is_finished()) {
      all_lost.MarkFinished();
    }
  }

  arrow::Status refuse;
  int64_t expected = INT64_MAX;
  size_t losses = SIZE_MAX;
  int64_t count = 0;
  int64_t bytes = 0;
  std::map<std::pair<Rank, uint64_t>, uint64_t> next;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> all = arrow::Future<>::Make();
  arrow::Future<> all_lost = arrow::Future<>::Make();
};

/// A rank of a case.
struct Node {
  Node(ConformanceWorld& world, Rank own_rank) : executor(world.executor(own_rank)), rank(own_rank) {
    transport = world.MakeTransport(rank);
  }
  ~Node() {
    std::ignore = executor.RunTask([this] {
      transport.reset();
      return arrow::Status::OK();
    });
  }

  arrow::Status Start() {
    arrow::Future<> started;
    ARROW_RETURN_NOT_OK(Do([&] { started = transport->Start(&inbox); }));
    return AwaitSoon(executor, started);
  }
  arrow::Status Close() {
    arrow::Future<> closed;
    ARROW_RETURN_NOT_OK(Do([&] { closed = transport->Close(); }));
    return AwaitSoon(executor, closed);
  }
  template <typename F>
  arrow::Status Do(F function) {
    return executor.RunTask([&] {
      function();
      return arrow::Status::OK();
    });
  }
  /// From when on Inbox::all and Inbox::all_lost are finished.
  arrow::Status Expect(int64_t messages, size_t losses = SIZE_MAX) {
    return Do([&] {
      inbox.expected = messages;
      inbox.losses = losses;
      inbox.Look();
    });
  }
  /// In a task. The message counts up in its channel.
  arrow::Future<> Send(Rank to, uint64_t channel, const std::vector<int64_t>& sizes) {
    const uint64_t number = sent[{to, channel}]++;
    Message message{TestChannel(channel), InlineBytes::Of(number), {}};
    for (auto size : sizes) {
      message.segments.push_back(Pattern(size, number));
    }
    return transport->Send(to, std::move(message));
  }

  Executor& executor;
  Rank rank;
  Inbox inbox;
  std::unique_ptr<Transport> transport;
  std::map<std::pair<Rank, uint64_t>, uint64_t> sent;
};

class TransportTest : public ::testing::TestWithParam<Subject> {
 protected:
  /// Runs `body` for every seed; a failure names its seed.
  void Run(int ranks, const std::function<arrow::Status(Node&)>& body) {
    for (int seed = 0; seed < GetParam().seeds && !HasFailure(); ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      auto world = GetParam().make(ranks, static_cast<uint64_t>(seed));
      auto status = world->Run([&](Rank rank) {
        Node node(*world, rank);
        ARROW_RETURN_NOT_OK(node.Start());
        return body(node);
      });
      EXPECT_TRUE(status.ok()) << status;
    }
  }
};

TEST_P(TransportTest, MessagesOfAChannelKeepTheirOrder) {
  constexpr int kRanks = 3;
  Run(kRanks, [](Node& node) {
    constexpr int64_t kMessages = 30;
    ARROW_RETURN_NOT_OK(node.Expect(kMessages * 3 * (kRanks - 1)));
    ARROW_RETURN_NOT_OK(node.Do([&] {
      for (int64_t i = 0; i < kMessages; ++i) {
        for (Rank to = 0; to < kRanks; ++to) {
          for (uint64_t channel = 0; channel < 3 && to != node.rank; ++channel) {
            std::ignore = node.Send(to, channel, {i * 10, 0, i});
          }
        }
      }
    }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all));
    return node.Close();
  });
}

TEST_P(TransportTest, EverySizeArrives) {
  const int64_t largest = std::min<int64_t>(GetParam().largest, 16 << 20);
  Run(2, [&](Node& node) {
    std::vector<int64_t> sizes{0, 1, 7, 63, 64, 65, 4095, 4097, 65536, (1 << 20) + 1, largest};
    ARROW_RETURN_NOT_OK(node.Expect(static_cast<int64_t>(sizes.size()) + 2));
    arrow::Future<> last;
    ARROW_RETURN_NOT_OK(node.Do([&] {
      for (auto size : sizes) {
        std::ignore = node.Send(1 - node.rank, 0, {size});
      }
      std::ignore = node.Send(1 - node.rank, 0, {});
      last = node.Send(1 - node.rank, 0, {0, 5, 0, 100000, 0, 0, 1});
    }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, last));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all));
    return node.Close();
  });
}

TEST_P(TransportTest, ManySmallMessagesArrive) {
  Run(2, [&](Node& node) {
    const int64_t many = GetParam().many / 4;
    ARROW_RETURN_NOT_OK(node.Expect(many));
    arrow::Future<> flushed;
    ARROW_RETURN_NOT_OK(node.Do([&] {
      for (int64_t i = 0; i < many; ++i) {
        std::ignore = node.Send(1 - node.rank, static_cast<uint64_t>(i % 7), {8});
      }
      flushed = node.transport->Flush();
    }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, flushed));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all));
    return node.Close();
  });
}

TEST_P(TransportTest, AllToAllAtOnce) {
  for (const int ranks : {1, 2, 3, 7}) {
    Run(ranks, [&](Node& node) {
      ARROW_RETURN_NOT_OK(node.Expect(int64_t{5} * (ranks - 1)));
      ARROW_RETURN_NOT_OK(node.Do([&] {
        for (int i = 0; i < 5; ++i) {
          for (Rank to = 0; to < ranks; ++to) {
            if (to != node.rank) {
              std::ignore = node.Send(to, 0, {20000, i});
            }
          }
        }
      }));
      if (ranks > 1) {
        ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all));
      }
      return node.Close();
    });
  }
}

TEST_P(TransportTest, GoodbyeComesAfterWhatWasSent) {
  Run(3, [&](Node& node) {
    ARROW_RETURN_NOT_OK(node.Expect(INT64_MAX, 1));
    if (node.rank == 1) {
      ARROW_RETURN_NOT_OK(node.Do([&] {
        for (int i = 0; i < 20; ++i) {
          std::ignore = node.Send(0, static_cast<uint64_t>(i % 3), {1000});
          std::ignore = node.Send(2, static_cast<uint64_t>(i % 3), {1000});
        }
      }));
      return node.Close();
    }
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all_lost));
    ARROW_RETURN_NOT_OK(node.Do([&] {
      // The others may have closed meanwhile, too.
      if (node.inbox.lost.contains(1)) {
        EXPECT_TRUE(node.inbox.lost[1].ok()) << node.inbox.lost[1];
        EXPECT_EQ(node.inbox.count, 20);
      }
    }));
    return node.Close();
  });
}

TEST_P(TransportTest, ALostPeerIsToldAndSendsToItFail) {
  Run(3, [&](Node& node) {
    ARROW_RETURN_NOT_OK(node.Expect(node.rank == 1 ? 2 : 1, 1));
    if (node.rank == 1) {
      // Both others are connected and listening when this rank goes.
      ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all));
      return node.Do([&] { node.transport->Abort(); });
    }
    arrow::Future<> sent;
    ARROW_RETURN_NOT_OK(node.Do([&] { std::ignore = node.Send(1, 0, {10}); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all_lost));
    ARROW_RETURN_NOT_OK(node.Do([&] {
      EXPECT_TRUE(node.inbox.lost.contains(1));
      EXPECT_TRUE(node.inbox.lost[1].IsIOError()) << node.inbox.lost[1];
      EXPECT_THAT(node.inbox.lost[1].message(), HasSubstr("rank 1"));
      sent = node.Send(1, 0, {10});
    }));
    EXPECT_FALSE(AwaitSoon(node.executor, sent).ok());
    // The two that are left still have each other.
    ARROW_RETURN_NOT_OK(node.Do([&] { std::ignore = node.Send(2 - node.rank, 5, {100}); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all));
    return node.Close();
  });
}

TEST_P(TransportTest, ARefusedMessageDropsTheLink) {
  Run(2, [&](Node& node) {
    ARROW_RETURN_NOT_OK(node.Expect(1, 1));
    if (node.rank == 0) {
      ARROW_RETURN_NOT_OK(node.Do([&] {
        node.inbox.refuse = ProtocolError("rank 1 sent nonsense", 1);
        std::ignore = node.Send(1, 0, {});
      }));
    } else {
      ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all));
      ARROW_RETURN_NOT_OK(node.Do([&] { std::ignore = node.Send(0, 0, {10}); }));
    }
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.inbox.all_lost));
    ARROW_RETURN_NOT_OK(node.Do([&] {
      if (node.rank == 0) {
        EXPECT_EQ(node.inbox.count, 0);
        EXPECT_TRUE(IsError(node.inbox.lost[1], ErrorKind::kProtocol)) << node.inbox.lost[1];
      } else {
        EXPECT_FALSE(node.inbox.lost[0].ok());
      }
    }));
    return node.Close();
  });
}

INSTANTIATE_TEST_SUITE_P(Transports, TransportTest,
                         ::testing::Values(SimSubject(), InprocSubject(), TcpSubject(), ShmSubject(), ByteSubject(),
                                           ChoiceSubject()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Punch, TransportTest, ::testing::ValuesIn(PunchSubjects()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Redis, TransportTest, ::testing::ValuesIn(RedisSubjects()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Object, TransportTest, ::testing::Values(ObjectSubject()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Bucket, TransportTest, ::testing::ValuesIn(BucketSubjects()),
                         [](const auto& subject) { return subject.param.name; });

}  // namespace
}  // namespace cylon::testing
