// Messages through an object store: what is left in it, and what is said of one that loses, changes or refuses them.
#include "cylon/net/object/object_transport.h"

#include <atomic>
#include <fstream>

#include "cylon/net/mail/testing/mail_node.h"
#include "cylon/net/object/object_names.h"
#include "cylon/net/object/testing/object_world.h"

namespace cylon::testing {
namespace {

using internal::ObjectNames;
using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Where an object of rank 0 to rank 1 lies.
std::filesystem::path ObjectOf(const ObjectConformanceWorld& world, uint64_t number) {
  return world.folder() / ObjectNames(world.world).Entry(0, 1, number);
}

TEST(ObjectTransportTest, NothingStaysInTheStore) {
  for (int round = 0; round < 2; ++round) {
    ObjectConformanceWorld world(3);
    const auto status = world.Run([&](Rank rank) {
      MailNode node(world, rank);
      ARROW_RETURN_NOT_OK(node.Start());
      for (Rank to = 0; to < 3; ++to) {
        if (to != rank) {
          std::ignore = node.Send(to, {100, 3000});
        }
      }
      ARROW_RETURN_NOT_OK(node.Receive(2));
      if (rank == 0) {
        return node.Close();
      }
      // These two go on for a while after the first has left, and leave as it comes.
      for (int i = 0; i < 20; ++i) {
        std::ignore = node.Send(3 - rank, {1000});
        ARROW_RETURN_NOT_OK(node.Receive(3 + i));
      }
      return node.Close();
    });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(world.Objects(true), std::set<std::string>{});
  }
}

TEST(ObjectTransportTest, WhatWasReadIsDeletedAndWhatWasNotIsAtTheEnd) {
  ObjectConformanceWorld world(2);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  for (int i = 0; i < 3; ++i) {
    zero.SendAlone(1, 100);
  }
  EXPECT_EQ(world.Objects().size(), 3U);
  {
    MailNode one(world, 1);
    ASSERT_TRUE(one.Start().ok());
    ASSERT_TRUE(one.Receive(3).ok());
    ASSERT_TRUE(one.Close().ok());
    for (uint64_t number = 1; number <= 3; ++number) {
      EXPECT_FALSE(std::filesystem::exists(ObjectOf(world, number)));
    }
  }
  EXPECT_TRUE(zero.Lost(1).ok());
  EXPECT_TRUE(zero.Close().ok());
  EXPECT_EQ(world.Objects(true), std::set<std::string>{});
}

TEST(ObjectTransportTest, ACrashLeavesWhatNobodyReadAndTheHeartbeat) {
  ObjectConformanceWorld world(2);
  {
    MailNode zero(world, 0);
    ASSERT_TRUE(zero.Start().ok());
    zero.SendAlone(1, 100);
    EXPECT_TRUE(zero.Do([&] { zero.transport->Abort(); }).ok());
  }
  const ObjectNames names(world.world);
  EXPECT_EQ(world.Objects(true), (std::set<std::string>{names.Entry(0, 1, 1), names.Beat(0)}));
}

TEST(ObjectTransportTest, TheSameRunOverACrashsLeftoversIsNotDisturbed) {
  ObjectConformanceWorld world(2);
  {
    MailNode zero(world, 0);
    ASSERT_TRUE(zero.Start().ok());
    for (int i = 0; i < 3; ++i) {
      zero.SendAlone(1, 100);
    }
    EXPECT_TRUE(zero.Do([&] { zero.transport->Abort(); }).ok());
  }
  // The same job and epoch, as where a user has set it; other processes.
  for (auto& card : world.world.cards) {
    card.address = ObjectCardAddress().ValueOrDie();
  }
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  ASSERT_TRUE(one.Start().ok());
  zero.SendAlone(1, 5);
  EXPECT_TRUE(one.Receive(1).ok());
  EXPECT_TRUE(one.sink.lost.empty());
  EXPECT_TRUE(zero.Close().ok());
  EXPECT_TRUE(one.Close().ok());
  EXPECT_EQ(world.Objects().size(), 3U);
}

TEST(ObjectTransportTest, TwoJobsInOneFolderDoNotMeet) {
  ObjectConformanceWorld here(2);
  ObjectConformanceWorld there(2);
  there.place = here.place;
  there.world.job = "another";
  std::vector<std::unique_ptr<MailNode>> nodes;
  for (auto* world : {&here, &there}) {
    for (Rank rank = 0; rank < 2; ++rank) {
      nodes.push_back(std::make_unique<MailNode>(*world, rank));
      ASSERT_TRUE(nodes.back()->Start().ok());
    }
  }
  for (int i = 1; i <= 10; ++i) {
    for (auto& node : nodes) {
      std::ignore = node->Send(1 - node->rank, {i, 1000});
    }
    for (auto& node : nodes) {
      ASSERT_TRUE(node->Receive(i).ok());
    }
  }
  for (auto& node : nodes) {
    EXPECT_TRUE(node->Close().ok());
  }
  EXPECT_EQ(here.Objects(true), std::set<std::string>{});
}

TEST(ObjectTransportTest, AWindowIsAllThatLiesInTheStore) {
  ObjectConformanceWorld world(2, kConformancePatience);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  std::vector<arrow::Future<>> sent;
  sent.reserve(24);
  for (int i = 0; i < 24; ++i) {
    sent.push_back(zero.Send(1, {1 << 20}));
  }
  // The other has not come: 16 MiB at most go out, with their frames. An object has one to three of the messages, so
  // that 13 to 15 fit in.
  ASSERT_TRUE(AwaitSoon(zero.executor, sent[12]).ok());
  EXPECT_FALSE(sent[15].is_finished());
  uintmax_t bytes = 0;
  for (const auto& object : world.Objects()) {
    bytes += std::filesystem::file_size(world.folder() / object);
    EXPECT_LE(std::filesystem::file_size(world.folder() / object), uintmax_t{4} << 20);
  }
  EXPECT_LE(bytes, uintmax_t{16} << 20);
  MailNode one(world, 1);
  ASSERT_TRUE(one.Start().ok());
  EXPECT_TRUE(one.Receive(24).ok());
  EXPECT_TRUE(AwaitSoon(zero.executor, sent.back()).ok());
}

TEST(ObjectTransportTest, MessagesThatAreSentMeanwhileShareAnObject) {
  ObjectConformanceWorld world(2);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  std::atomic<int> puts = 0;
  world.store->SetFault([&](const std::string& call, const std::string& name) {
    puts += call == "put" && name.find("alive") == std::string::npos ? 1 : 0;
    return arrow::Status::OK();
  });
  arrow::Status status;
  std::vector<arrow::Future<>> sent;
  ASSERT_TRUE(zero.Do([&] {
                    for (uint64_t i = 0; i < 1000; ++i) {
                      sent.push_back(zero.transport->Send(1, {TestChannel(0), InlineBytes::Of(i), {}}));
                    }
                  })
                  .ok());
  ASSERT_TRUE(AwaitSoon(zero.executor, sent.back()).ok());
  EXPECT_LE(puts, 5);
  MailNode one(world, 1);
  ASSERT_TRUE(one.Start().ok());
  EXPECT_TRUE(one.Receive(1000).ok());
}

TEST(ObjectTransportTest, ABusyStoreLosesAndRepeatsNothing) {
  ObjectConformanceWorld world(2, kConformancePatience);
  // Now one call is refused, now another; some of the refused ones have been carried out all the same.
  std::atomic<uint64_t> calls = 0;
  world.store->SetFault([&](const std::string&, const std::string&) {
    return ++calls % 5 == 2 ? FaultyStore::SlowDown() : arrow::Status::OK();
  });
  const auto status = world.Run([&](Rank rank) {
    MailNode node(world, rank);
    ARROW_RETURN_NOT_OK(node.Start());
    for (int i = 0; i < 30; ++i) {
      std::ignore = node.Send(1 - rank, {20000, 3});
      ARROW_RETURN_NOT_OK(node.Receive(i + 1));
    }
    return node.Close();
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(world.Objects(true), std::set<std::string>{});
}

TEST(ObjectTransportTest, WhatWasPutAtTheSecondAttemptStaysUntilItIsRead) {
  ObjectConformanceWorld world(2);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  std::atomic<int> refused = 0;
  world.store->SetFault([&](const std::string& call, const std::string& name) {
    const bool first = call == "put" && name.find("alive") == std::string::npos && refused++ == 0;
    return first ? FaultyStore::SlowDown() : arrow::Status::OK();
  });
  zero.SendAlone(1, 100);
  ASSERT_TRUE(zero.Close().ok());
  MailNode one(world, 1);
  ASSERT_TRUE(one.Start().ok());
  EXPECT_TRUE(one.Receive(1).ok());
  EXPECT_TRUE(one.Lost(0).ok());
  EXPECT_TRUE(one.Close().ok());
  EXPECT_EQ(world.Objects(true), std::set<std::string>{});
}

TEST(ObjectTransportTest, AChangedObjectIsRefusedAtBothEnds) {
  ObjectConformanceWorld world(2);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  zero.SendAlone(1, 100);
  zero.SendAlone(1, 100);
  auto bytes = ReadFile(ObjectOf(world, 2));
  bytes[50] ^= 1;
  WriteFile(ObjectOf(world, 2), bytes);
  ASSERT_TRUE(one.Start().ok());
  const auto status = one.Lost(0);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("object 2 of rank 0 was changed in the object store file:///"));
  EXPECT_EQ(one.sink.count, 1);
  EXPECT_THAT(zero.Lost(1).message(), HasSubstr("rank 1 is gone: it dropped the connection: object 2 of rank 0"));
}

TEST(ObjectTransportTest, ObjectsOfOtherNumbersPairsAndLengthsAreRefused) {
  const std::vector<std::function<void(const ObjectConformanceWorld&)>> crimes = {
      // An earlier one again; the next one before its time; one that this rank has sent; one that was cut off; nothing.
      [](const auto& world) { WriteFile(ObjectOf(world, 2), ReadFile(ObjectOf(world, 1))); },
      [](const auto& world) { WriteFile(ObjectOf(world, 2), ReadFile(ObjectOf(world, 3))); },
      [](const auto& world) {
        WriteFile(ObjectOf(world, 2), ReadFile(world.folder() / ObjectNames(world.world).Entry(1, 0, 2)));
      },
      [](const auto& world) { WriteFile(ObjectOf(world, 2), ReadFile(ObjectOf(world, 2)).substr(0, 60)); },
      [](const auto& world) { WriteFile(ObjectOf(world, 2), ""); },
      [](const auto& world) { WriteFile(ObjectOf(world, 2), std::string(1 << 20, '\xff')); },
  };
  for (size_t i = 0; i < crimes.size(); ++i) {
    SCOPED_TRACE(i);
    ObjectConformanceWorld world(2);
    MailNode zero(world, 0);
    ASSERT_TRUE(zero.Start().ok());
    for (int k = 0; k < 3; ++k) {
      zero.SendAlone(1, 100);
    }
    {
      auto mine = world.world;
      mine.rank = 1;
      MailNode one(world, 1);
      world.store->SetFault([](const std::string& call, const std::string& name) {
        return call == "get" && name.find("alive") == std::string::npos ? FaultyStore::SlowDown() : arrow::Status::OK();
      });
      ASSERT_TRUE(one.Start().ok());
      one.SendAlone(0, 100);
      one.SendAlone(0, 100);
      crimes[i](world);
      world.store->SetFault(nullptr);
      const auto status = one.Lost(0);
      EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
      EXPECT_THAT(status.message(), HasSubstr("object 2 of rank 0 was changed in the object store"));
      EXPECT_EQ(one.sink.count, 1);
    }
  }
}

TEST(ObjectTransportTest, ALostObjectIsAnErrorAtBothEnds) {
  ObjectConformanceWorld world(2, 1s);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  for (int i = 0; i < 3; ++i) {
    zero.SendAlone(1, 100);
  }
  std::filesystem::remove(ObjectOf(world, 2));
  ASSERT_TRUE(one.Start().ok());
  const auto here = one.Lost(0);
  EXPECT_THAT(here.message(), AllOf(HasSubstr("object 2 of rank 0 was lost in the object store file:///"),
                                    HasSubstr("let nobody delete objects of this job")));
  EXPECT_EQ(one.sink.count, 1);
  EXPECT_THAT(zero.Lost(1).message(), HasSubstr("rank 1 is gone: it dropped the connection: object 2 of rank 0"));
}

TEST(ObjectTransportTest, AnotherSecretIsToldAtBothEnds) {
  ObjectConformanceWorld world(2);
  MailNode zero(world, 0);
  world.secret = "another";
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  ASSERT_TRUE(one.Start().ok());
  std::ignore = zero.Send(1, {10});
  for (auto [node, peer] : {std::pair(&one, 0), std::pair(&zero, 1)}) {
    const auto status = node->Lost(peer);
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("rank " + std::to_string(peer) + " does not know the job's secret"),
                                        HasSubstr("CYLON_SECRET_FILE")));
  }
}

TEST(ObjectTransportTest, ACardOfAnotherTransportIsNamed) {
  ObjectConformanceWorld world(2);
  world.world.cards[1].address = "127.0.0.1:4711";
  const auto made = MakeObjectTransport(world.executor(0), world.place, world.world, "a secret", kObjectPeerTimeout);
  EXPECT_TRUE(made.status().IsInvalid());
  EXPECT_THAT(made.status().message(),
              AllOf(HasSubstr("rank 1 is reached by '127.0.0.1:4711'"), HasSubstr("set CYLON_TRANSPORT to the same")));
}

TEST(ObjectTransportTest, APeerThatStandsStillIsLost) {
  ObjectConformanceWorld world(2, 500ms);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  const auto status = zero.Lost(1);
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 1 is gone"), HasSubstr("has stood still for 500 ms")));
}

TEST(ObjectTransportTest, APeerThatGivesUpIsLostBeforeItsTime) {
  ObjectConformanceWorld world(2, 5s);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  {
    MailNode one(world, 1);
    ASSERT_TRUE(one.Start().ok());
    ASSERT_TRUE(one.Do([&] { one.transport->Abort(); }).ok());
  }
  // Not "has stood still for 5000 ms".
  EXPECT_THAT(zero.Lost(1).message(), HasSubstr("rank 1 is gone: it closed its transport without a goodbye"));
}

TEST(ObjectTransportTest, AStoreThatIsGoneIsToldByEveryRank) {
  ObjectConformanceWorld world(3, 500ms);
  std::vector<std::unique_ptr<MailNode>> nodes;
  for (Rank rank = 0; rank < 3; ++rank) {
    nodes.push_back(std::make_unique<MailNode>(world, rank));
    ASSERT_TRUE(nodes.back()->Start().ok());
  }
  std::ignore = nodes[0]->Send(1, {1000});
  ASSERT_TRUE(nodes[1]->Receive(1).ok());
  world.store->SetFault([](const std::string&, const std::string&) {
    return arrow::Status::IOError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 7, Could not ",
                                  "connect to server");
  });
  for (auto& node : nodes) {
    const Rank peer = node->rank == 0 ? 1 : 0;
    const auto status = node->Lost(peer);
    EXPECT_TRUE(IsError(status, ErrorKind::kIsolated)) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("the object store file:///"), HasSubstr("did not get done with"),
                                        HasSubstr("in 500 ms"), HasSubstr("Could not connect")));
    EXPECT_FALSE(AwaitSoon(node->executor, node->Send(peer, {10})).ok());
  }
}

TEST(ObjectTransportTest, AStoreThatIsNotThereIsToldAtTheStart) {
  ObjectConformanceWorld world(2);
  world.store->SetFault([](const std::string&, const std::string&) {
    return arrow::Status::IOError("AWS Error NO_SUCH_BUCKET during PutObject operation: no such bucket");
  });
  for (Rank rank = 0; rank < 2; ++rank) {
    MailNode node(world, rank);
    const auto status = node.Start();
    EXPECT_THAT(status.message(), AllOf(HasSubstr("the object store file:///"), HasSubstr("NO_SUCH_BUCKET"),
                                        HasSubstr("create the bucket")));
  }
}

}  // namespace
}  // namespace cylon::testing
