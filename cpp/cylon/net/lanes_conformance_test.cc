// What lanes promise, over every transport.
#include <map>
#include <random>
#include <set>

#include "cylon/net/conformance.h"
#include "cylon/net/interval_set.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

/// Checks that each sender counts up and that segments lie as promised; admits what it is told to.
class Reader : public Receiver {
 public:
  bool Admit(Rank, int64_t bytes) override { return admit ? admit(bytes) : true; }

  void OnMessage(Rank from, Message message) override {
    uint64_t number = 0;
    EXPECT_TRUE(message.header.As(&number));
    auto& due = next[from];
    EXPECT_EQ(number, due++) << "from rank " << from << " on channel " << message.channel.sequence;
    for (const auto& segment : message.segments) {
      EXPECT_TRUE(IsPattern(*segment, number));
    }
    for (size_t i = 1; i < message.segments.size() && from != own; ++i) {
      const int64_t step = message.segments[i]->data() - message.segments[i - 1]->data();
      EXPECT_EQ(step, (message.segments[i - 1]->size() + 63) / 64 * 64);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(message.segments[i]->data()) % 64, 0U);
    }
    bytes += message.payload_bytes();
    ++count;
    if (keep) {
      kept.push_back(std::move(message));
    }
    if (on_message) {
      on_message();
    }
    if (count == expected) {
      all.MarkFinished();
    }
  }

  void OnReceiveError(Rank, const arrow::Status& status) override {
    error = status;
    failed.MarkFinished();
  }

  std::function<bool(int64_t)> admit;
  std::function<void()> on_message;
  Rank own = -1;
  int64_t expected = 0;
  int64_t count = 0;
  int64_t bytes = 0;
  bool keep = false;
  std::vector<Message> kept;
  std::map<Rank, uint64_t> next;
  arrow::Status error;
  arrow::Future<> all = arrow::Future<>::Make();
  arrow::Future<> failed = arrow::Future<>::Make();
};

/// A rank of a case: lanes over the transport under test, and a pool that counts.
struct Node : LanesObserver {
  Node(ConformanceWorld& world, int ranks, Rank own_rank, LanesOptions options = {})
      : executor(world.executor(own_rank)), rank(own_rank), size(ranks) {
    lanes = std::make_unique<Lanes>(rank, ranks, world.MakeTransport(rank), executor, &pool, options);
  }

  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    EXPECT_TRUE(lost.emplace(peer, cause).second) << "told twice";
    if (!first_lost.is_finished()) {
      first_lost.MarkFinished();
    }
  }
  void OnControl(Rank from, Message message) override {
    controls.push_back({from, message.channel.sequence});
    if (!first_control.is_finished()) {
      first_control.MarkFinished();
    }
  }

  arrow::Status Start() {
    return Await([&] { return lanes->Start(this); });
  }
  arrow::Status Shutdown() {
    return Await([&] { return lanes->Shutdown(); });
  }
  /// Runs `function` as a task and waits for the future that it returns.
  template <typename F>
  arrow::Status Await(F function) {
    arrow::Future<> future;
    ARROW_RETURN_NOT_OK(Do([&] { future = function(); }));
    return AwaitSoon(executor, future);
  }
  template <typename F>
  arrow::Status Do(F function) {
    return executor.RunTask([&] {
      function();
      return arrow::Status::OK();
    });
  }
  /// In a task. The message counts up in its channel.
  arrow::Future<> Send(Rank to, uint64_t channel, const std::vector<int64_t>& sizes) {
    const uint64_t number = sent[{to, channel}]++;
    Message message{TestChannel(channel), InlineBytes::Of(number), {}};
    for (auto bytes : sizes) {
      message.segments.push_back(Pattern(bytes, number));
    }
    return lanes->Send(to, std::move(message));
  }

  arrow::ProxyMemoryPool pool{arrow::default_memory_pool()};
  Executor& executor;
  Rank rank;
  int size;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> first_lost = arrow::Future<>::Make();
  std::vector<std::pair<Rank, uint64_t>> controls;
  arrow::Future<> first_control = arrow::Future<>::Make();
  std::map<std::pair<Rank, uint64_t>, uint64_t> sent;
  std::unique_ptr<Lanes> lanes;
};

class LanesTest : public ::testing::TestWithParam<Subject> {
 protected:
  void Run(int ranks, const std::function<arrow::Status(Node&, uint64_t seed)>& body, LanesOptions options = {},
           int most_seeds = INT32_MAX) {
    for (int seed = 0; seed < std::min(GetParam().seeds, most_seeds) && !HasFailure(); ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      auto world = GetParam().make(ranks, static_cast<uint64_t>(seed));
      auto status = world->Run([&](Rank rank) {
        Node node(*world, ranks, rank, options);
        ARROW_RETURN_NOT_OK(node.Start());
        return body(node, static_cast<uint64_t>(seed));
      });
      EXPECT_TRUE(status.ok()) << status;
    }
  }
};

TEST_P(LanesTest, EverySizeArrivesInOrder) {
  const LanesOptions options{.piece_bytes = 1 << 16};
  Run(
      2,
      [&](Node& node, uint64_t) {
        const Rank other = 1 - node.rank;
        Reader reader;
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

TEST_P(LanesTest, TheLargestMessageArrives) {
  Run(
      2,
      [&](Node& node, uint64_t) {
        Reader reader;
        reader.expected = 1;
        if (node.rank == 0) {
          ARROW_RETURN_NOT_OK(node.Await([&] { return node.Send(1, 0, {GetParam().largest - 100, 100}); }));
        } else {
          ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(0), &reader); }));
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
          EXPECT_EQ(reader.bytes, GetParam().largest);
        }
        return node.Shutdown();
      },
      {}, 2);
}

TEST_P(LanesTest, ManyChannelsShareALink) {
  constexpr uint64_t kChannels = 100;
  Run(
      2,
      [&](Node& node, uint64_t) {
        std::vector<Reader> readers(kChannels);
        ARROW_RETURN_NOT_OK(node.Do([&] {
          for (uint64_t channel = 0; channel < kChannels; ++channel) {
            readers[channel].expected = 3;
            node.lanes->Open(TestChannel(channel), &readers[channel]);
            std::ignore = node.Send(1 - node.rank, channel, {20000});
            std::ignore = node.Send(1 - node.rank, channel, {10});
            std::ignore = node.Send(1 - node.rank, channel, {30000, 5});
          }
        }));
        for (auto& reader : readers) {
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
        }
        return node.Shutdown();
      },
      {}, 5);
}

TEST_P(LanesTest, ManySmallMessagesArrive) {
  Run(
      2,
      [&](Node& node, uint64_t) {
        Reader reader;
        reader.expected = GetParam().many;
        ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(0), &reader); }));
        if (node.rank == 0) {
          ARROW_RETURN_NOT_OK(node.Await([&] {
            for (int64_t i = 0; i < GetParam().many; ++i) {
              std::ignore = node.Send(1, 0, {8});
            }
            return node.lanes->Flush();
          }));
        } else {
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
        }
        return node.Shutdown();
      },
      {}, 2);
}

TEST_P(LanesTest, AllToAllAtOnceAlsoToOneself) {
  for (const int ranks : {1, 2, 3, 7}) {
    Run(ranks, [&](Node& node, uint64_t) {
      Reader reader;
      reader.own = node.rank;
      reader.expected = ranks * 4;
      ARROW_RETURN_NOT_OK(node.Do([&] {
        node.lanes->Open(TestChannel(0), &reader);
        for (Rank to = 0; to < ranks; ++to) {
          for (int64_t size : {40000, 3, 70000, 0}) {
            std::ignore = node.Send(to, 0, {size, 1});
          }
        }
      }));
      ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
      return node.Shutdown();
    });
  }
}

TEST_P(LanesTest, ASlowReaderDoesNotGrowItsMemory) {
  constexpr int64_t kBytes = 100000;
  constexpr int64_t kAdmitted = 2 * kBytes;
  Run(2, [&](Node& node, uint64_t) {
    Reader reader;
    reader.expected = 200;
    if (node.rank == 0) {
      ARROW_RETURN_NOT_OK(node.Await([&] {
        for (int i = 0; i < reader.expected; ++i) {
          std::ignore = node.Send(1, 0, {i % 2 == 0 ? kBytes : 100});
        }
        return node.lanes->Flush();
      }));
      return node.Shutdown();
    }
    // Holds what came until a later task; takes no more than two large messages meanwhile.
    int64_t held = 0;
    reader.keep = true;
    reader.admit = [&](int64_t bytes) {
      if (held + bytes > kAdmitted) {
        return false;
      }
      held += bytes;
      return true;
    };
    reader.on_message = [&] {
      node.executor.Post([&] {
        for (const auto& message : reader.kept) {
          held -= message.payload_bytes() >= kBytes ? message.payload_bytes() : 0;
        }
        reader.kept.clear();
        node.lanes->Retry(TestChannel(0));
      });
    };
    ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(0), &reader); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
    ARROW_RETURN_NOT_OK(node.Shutdown());
    EXPECT_LE(node.pool.max_memory(), kAdmitted + (64 << 10) + 1024);
    return arrow::Status::OK();
  });
}

TEST_P(LanesTest, EarlyMessagesWaitWithinTheWindowUntilTheChannelOpens) {
  Run(2, [&](Node& node, uint64_t) {
    const int messages = 500;
    if (node.rank == 0) {
      Reader ready;
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
    Reader late;
    Reader other;
    late.expected = messages;
    other.expected = 1;
    ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(2), &other); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, other.all));
    EXPECT_LE(node.pool.max_memory(), 200000 + (64 << 10) + 1024);
    EXPECT_GT(node.pool.bytes_allocated(), 0);
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
      [&](Node& node, uint64_t) {
        Reader reader;
        reader.expected = 1;
        if (node.rank == 0) {
          arrow::Future<> sent;
          ARROW_RETURN_NOT_OK(node.Do([&] { sent = node.Send(1, 0, {large}); }));
          ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.first_control));
          // The other asked for this answer when the first pieces were there.
          ARROW_RETURN_NOT_OK(node.Await(
              [&] { return node.lanes->Send(1, Message{{1, 0, ChannelKind::kControl, 7}, {}, {Pattern(100, 0)}}); }));
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
      [&](Node& node, uint64_t) {
        Reader reader;
        Reader other;
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
  Run(2, [&](Node& node, uint64_t) {
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
  Run(2, [&](Node& node, uint64_t) {
    Reader reader;
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

TEST_P(LanesTest, ALostPeerFailsItsQueuedSendsAndFreesWhatWasPartial) {
  Run(3, [&](Node& node, uint64_t) {
    Reader reader;
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
      [&](Node& node, uint64_t) {
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

/// Random sizes on random channels that open at random times; small windows, so that every path is taken.
TEST_P(LanesTest, EverythingArrivesUnderRandomLoad) {
  constexpr int kRanks = 3;
  constexpr uint64_t kChannels = 6;
  constexpr int kMessages = 40;
  const LanesOptions options{.piece_bytes = 1000, .eager_bytes = 4096, .announced = 2};
  const int rounds = GetParam().name == "sim" ? (LongTests() ? 10 : 10) : 5;
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    Run(
        kRanks,
        [&](Node& node, uint64_t seed) {
          // The same plan on every rank: what each sends to each on each channel.
          std::mt19937_64 random(seed * 1000 + static_cast<uint64_t>(round));
          std::vector<Reader> readers(kChannels);
          std::vector<std::vector<std::pair<uint64_t, std::vector<int64_t>>>> plan(kRanks);
          for (Rank from = 0; from < kRanks; ++from) {
            for (int i = 0; i < kMessages; ++i) {
              const auto to = static_cast<Rank>(random() % kRanks);
              const uint64_t channel = random() % kChannels;
              std::vector<int64_t> sizes(random() % 4);
              for (auto& size : sizes) {
                size = static_cast<int64_t>(random() % (random() % 3 == 0 ? 20000 : 200));
              }
              if (from == node.rank) {
                plan[to].push_back({channel, sizes});
              }
              readers[channel].expected += to == node.rank ? 1 : 0;
            }
          }
          std::mt19937_64 own(seed * 7 + static_cast<uint64_t>(node.rank));
          int refusals = 30;
          for (uint64_t channel = 0; channel < kChannels; ++channel) {
            auto& reader = readers[channel];
            reader.own = node.rank;
            reader.admit = [&, channel](int64_t) {
              if (own() % 2 == 0 || refusals-- <= 0) {
                return true;
              }
              node.executor.Post([&node, channel] { node.lanes->Retry(TestChannel(channel)); });
              return false;
            };
          }
          for (Rank to = 0; to < kRanks; ++to) {
            ARROW_RETURN_NOT_OK(node.Do([&] {
              for (const auto& [channel, sizes] : plan[to]) {
                std::ignore = node.Send(to, channel, sizes);
              }
            }));
          }
          for (uint64_t channel = 0; channel < kChannels; ++channel) {
            ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(channel), &readers[channel]); }));
            if (own() % 2 == 0 && readers[channel].expected > 0) {
              ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, readers[channel].all));
            }
          }
          for (auto& reader : readers) {
            if (reader.expected > 0) {
              ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
            }
          }
          ARROW_RETURN_NOT_OK(node.Await([&] { return node.lanes->Flush(); }));
          return node.Shutdown();
        },
        options);
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, LanesTest, ::testing::Values(SimSubject(), InprocSubject()),
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
