// Lanes under load, over every transport: large, many, all at once, slow, and at random.
#include <random>

#include "cylon/net/lanes_conformance.h"
#include "cylon/net/redis/testing/redis_world.h"

namespace cylon::testing {
namespace {

class LanesLoadTest : public LanesCase {};

TEST_P(LanesLoadTest, ASlowReaderDoesNotGrowItsMemory) {
  constexpr int64_t kBytes = 100000;
  constexpr int64_t kAdmitted = 2 * kBytes;
  Run(2, [&](LanesNode& node, uint64_t) {
    CountingReader reader;
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

TEST_P(LanesLoadTest, AllToAllAtOnceAlsoToOneself) {
  for (const int ranks : {1, 2, 3, 7}) {
    Run(ranks, [&](LanesNode& node, uint64_t) {
      CountingReader reader;
      reader.own = node.rank;
      reader.expected = int64_t{4} * ranks;
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

TEST_P(LanesLoadTest, ManySmallMessagesArrive) {
  Run(
      2,
      [&](LanesNode& node, uint64_t) {
        CountingReader reader;
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

TEST_P(LanesLoadTest, ManyChannelsShareALink) {
  constexpr uint64_t kChannels = 100;
  Run(
      2,
      [&](LanesNode& node, uint64_t) {
        std::vector<CountingReader> readers(kChannels);
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

TEST_P(LanesLoadTest, TheLargestMessageArrives) {
  Run(
      2,
      [&](LanesNode& node, uint64_t) {
        CountingReader reader;
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

/// Random sizes on random channels that open at random times; small windows, so that every path is taken.
TEST_P(LanesLoadTest, EverythingArrivesUnderRandomLoad) {
  constexpr int kRanks = 3;
  constexpr uint64_t kChannels = 6;
  constexpr int kMessages = 40;
  const LanesOptions options{.piece_bytes = 1000, .eager_bytes = 4096, .announced = 2};
  const int rounds = GetParam().name == "sim" ? 10 : 5;
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    Run(
        kRanks,
        [&](LanesNode& node, uint64_t seed) {
          // The same plan on every rank: what each sends to each on each channel.
          std::mt19937_64 random(seed * 1000 + static_cast<uint64_t>(round));
          std::vector<CountingReader> readers(kChannels);
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
          std::mt19937_64 tasks(seed * 11 + static_cast<uint64_t>(node.rank));  // of Admit, which is called in tasks
          int refusals = 30;
          for (uint64_t channel = 0; channel < kChannels; ++channel) {
            auto& reader = readers[channel];
            reader.own = node.rank;
            reader.admit = [&, channel](int64_t) {
              if (tasks() % 2 == 0 || refusals-- <= 0) {
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

INSTANTIATE_TEST_SUITE_P(Transports, LanesLoadTest,
                         ::testing::Values(SimSubject(), InprocSubject(), TcpSubject(), ShmSubject()),
                         [](const auto& subject) { return subject.param.name; });
INSTANTIATE_TEST_SUITE_P(Redis, LanesLoadTest, ::testing::ValuesIn(RedisSubjects()),
                         [](const auto& subject) { return subject.param.name; });

}  // namespace
}  // namespace cylon::testing
