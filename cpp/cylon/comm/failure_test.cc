// Ranks that disagree, leave, give up or are lost: every other one gets the same error, and nobody hangs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "cylon/base/random.h"
#include "cylon/comm/call.h"
#include "cylon/comm/context.h"
#include "cylon/comm/launcher_word.h"
#include "cylon/comm/testing/ranks.h"

namespace cylon {
namespace {

using testing::BufferOf;
using testing::EachWorld;
using ::testing::HasSubstr;
using Kind = ThreadWorld::Kind;

/// Every collective, by number; all but the last few data arguments are the same at every rank.
constexpr int kCalls = 10;
arrow::Status CallNumber(Communicator& comm, int number) {
  const auto value = BufferOf<int64_t>({comm.rank(), 2});
  const Buffers values(static_cast<size_t>(comm.size()), value);
  switch (number) {
    case 0:
      return comm.Barrier();
    case 1:
      return comm.AllReduce(value, arrow::Type::INT64, ReduceOp::kSum).status();
    case 2:
      return comm.Reduce(value, arrow::Type::INT64, ReduceOp::kSum, 0).status();
    case 3:
      return comm.Broadcast(value, 0).status();
    case 4:
      return comm.AllGather(value).status();
    case 5:
      return comm.Gather(value, 1).status();
    case 6:
      return comm.Scatter(values, 0).status();
    case 7:
      return comm.AllToAll(values).status();
    case 8:
      return comm.Agree({"Test()", arrow::Status::OK(), {1}}).status();
    default:
      return comm.Split(0, comm.rank()).status();
  }
}

/// "" where every status but that of `except` is an error of `kind`.
std::string Unlike(const std::vector<arrow::Status>& statuses, ErrorKind kind, Rank except = -1) {
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    if (static_cast<Rank>(rank) != except && !IsError(statuses[rank], kind)) {
      return "rank " + std::to_string(rank) + ": " + statuses[rank].ToString();
    }
  }
  return "";
}

/// "" where every rank but `lost` got RankFailedError that names it, with one cause.
std::string NotNamed(const std::vector<arrow::Status>& statuses, Rank lost) {
  if (auto unlike = Unlike(statuses, ErrorKind::kRankFailed, lost); !unlike.empty()) {
    return unlike;
  }
  std::string cause;
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    if (static_cast<Rank>(rank) == lost) {
      continue;
    }
    const auto detail = GetErrorDetail(statuses[rank]);
    if (detail->rank != lost || (!cause.empty() && detail->cause != cause)) {
      return "rank " + std::to_string(rank) + " names " + std::to_string(detail->rank) + ": " + detail->cause;
    }
    cause = detail->cause;
  }
  return "";
}

class FailureTest : public ::testing::TestWithParam<testing::WorldParameter> {
 protected:
  std::vector<arrow::Status> Run(const std::function<arrow::Status(Context&)>& body) {
    return RunRanks(testing::MakeThreadWorld(GetParam()), body);
  }
  int ranks() const { return GetParam().ranks; }
};

INSTANTIATE_TEST_SUITE_P(Worlds, FailureTest, ::testing::ValuesIn(EachWorld({3, 4})), testing::WorldName);

/// Calls until one fails: what a rank does not notice in its own call reaches it in a later one.
arrow::Status Repeat(const std::function<arrow::Status()>& call) {
  for (int i = 0; i < 100; ++i) {
    ARROW_RETURN_NOT_OK(call());
  }
  return arrow::Status::OK();
}

TEST_P(FailureTest, EveryPairOfDifferentCallsIsAMismatchAtEveryRank) {
  for (int first = 0; first < kCalls; ++first) {
    for (int second = 0; second < kCalls; ++second) {
      if (first == second) {
        continue;
      }
      const auto statuses = Run([&](Context& context) {
        auto& comm = context.communicator();
        ARROW_RETURN_NOT_OK(CallNumber(comm, comm.rank() == 1 ? second : first));
        return Repeat([&] { return comm.Barrier(); });
      });
      ASSERT_EQ(Unlike(statuses, ErrorKind::kCollectiveMismatch), "") << first << " against " << second;
      for (const auto& status : statuses) {
        EXPECT_EQ(status.message(), statuses[0].message());
      }
    }
  }
}

TEST_P(FailureTest, ArgumentsThatDifferAreAMismatchThatNamesBothCalls) {
  auto run = [&](const std::function<arrow::Status(Communicator&)>& call) {
    const auto statuses = Run([&](Context& context) {
      auto& comm = context.communicator();
      comm.SetOperation("Test");
      ARROW_RETURN_NOT_OK(call(comm));
      return Repeat([&] { return comm.Barrier(); });  // a root may be done with its call before it hears
    });
    EXPECT_EQ(Unlike(statuses, ErrorKind::kCollectiveMismatch), "");
    return statuses[0].message();
  };
  // Two roots that would wait for each other, and a third rank for both.
  EXPECT_THAT(run([](Communicator& comm) { return comm.Broadcast(BufferOf<int64_t>({1}), comm.rank() == 1).status(); }),
              AllOf(HasSubstr("Test: Broadcast(root 0)"), HasSubstr("Test: Broadcast(root 1)"), HasSubstr("rank 1")));
  EXPECT_THAT(run([](Communicator& comm) { return comm.Gather(BufferOf<int64_t>({1}), comm.rank() == 1).status(); }),
              HasSubstr("every rank has to make the same calls in the same order"));
  EXPECT_THAT(run([](Communicator& comm) {
                return comm
                    .Scatter(Buffers(static_cast<size_t>(comm.size()), BufferOf<int64_t>({1})),
                             (comm.rank() + 1) % comm.size())
                    .status();
              }),
              HasSubstr("Scatter(root"));
  EXPECT_THAT(run([](Communicator& comm) {
                const std::vector<int64_t> values(comm.rank() == 1 ? 3 : 2);
                return comm.AllReduce(BufferOf(values), arrow::Type::INT64, ReduceOp::kSum).status();
              }),
              AllOf(HasSubstr("AllReduce(2 x int64, sum)"), HasSubstr("AllReduce(3 x int64, sum)")));
  EXPECT_THAT(run([](Communicator& comm) {
                const auto op = comm.rank() == 1 ? ReduceOp::kMin : ReduceOp::kSum;
                return comm.AllReduce(BufferOf<int64_t>({1}), arrow::Type::INT64, op).status();
              }),
              HasSubstr("AllReduce(1 x int64, min)"));
  EXPECT_THAT(run([](Communicator& comm) {
                const auto type = comm.rank() == 1 ? arrow::Type::DOUBLE : arrow::Type::INT64;
                return comm.AllReduce(BufferOf<int64_t>({1}), type, ReduceOp::kSum).status();
              }),
              HasSubstr("AllReduce(1 x double, sum)"));
}

TEST_P(FailureTest, AMismatchNamesWhereBothCallsWereMade) {
  std::string places[2];
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    if (comm.rank() == 1) {
      const std::string line = std::to_string(__LINE__ + 2);
      places[1] = "rank 1 called Gather(root 0) at failure_test.cc:" + line;
      ARROW_RETURN_NOT_OK(comm.Gather(BufferOf<int64_t>({1}), 0).status());
      return Repeat([&] { return comm.Barrier(); });
    }
    CallSite here(comm, "program.py:7");  // the outer one counts
    return Repeat([&] { return comm.Barrier(); });
  });
  EXPECT_EQ(Unlike(statuses, ErrorKind::kCollectiveMismatch), "");
  // Ring neighbours compare: the other one of the two is 0 or 2.
  EXPECT_THAT(statuses[0].message(), AllOf(HasSubstr(places[1]), HasSubstr("called Barrier() at program.py:7"),
                                           HasSubstr("; every rank has to make the same calls in the same order")));
}

TEST_P(FailureTest, AnAgreementThatFailsNamesWhereItWasAsked) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    CallSite here(comm, "program.py:" + std::to_string(10 + comm.rank()));
    return comm.Agree({comm.rank() == 1 ? "Sort(a)" : "Join(a)", arrow::Status::OK(), {}}).status();
  });
  for (const auto& status : statuses) {
    EXPECT_EQ(
        status.message(),
        "rank 0 called Join(a) at program.py:10 but rank 1 called Sort(a) at program.py:11; every rank has to make "
        "the same calls in the same order");
  }
}

TEST(CallHeaderTest, NamesAreCutToFitAndPlacesKeepTheirEnd) {
  internal::CallHeader header;
  header.call.kind = internal::CallKind::kGather;
  header.call.root = 3;
  header.call.within = "Join, exchange of " + std::string(300, 'x');
  header.call.site = std::string(300, 'y') + "/analysis.py:42";
  header.sequence = 77;
  const auto bytes = internal::Encode(header);
  EXPECT_LE(bytes.size(), kMaxUserHeader);
  const auto decoded = internal::DecodeCallHeader(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_TRUE(internal::SameCall(decoded->call, header.call));
  EXPECT_EQ(decoded->sequence, 77U);
  EXPECT_TRUE(decoded->call.within.starts_with("Join, exchange of xx"));
  EXPECT_TRUE(decoded->call.site.ends_with("yy/analysis.py:42"));
  const auto cut = internal::DecodeCallHeader(InlineBytes(bytes.bytes().first(bytes.size() - 1)));
  EXPECT_TRUE(IsError(cut.status(), ErrorKind::kProtocol));
}

TEST_P(FailureTest, ACallThatOneRankRefusesIsAMismatchForTheOthers) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    auto status = comm.AllGather(comm.rank() == 1 ? nullptr : BufferOf<int64_t>({1})).status();
    if (comm.rank() == 1) {
      if (!status.IsInvalid() || GetErrorDetail(status) != nullptr) {
        return arrow::Status::UnknownError("got ", status.ToString());
      }
      return Repeat([&] { return comm.Barrier(); });
    }
    return status;
  });
  EXPECT_EQ(Unlike(statuses, ErrorKind::kCollectiveMismatch), "");
  EXPECT_THAT(statuses[0].message(), HasSubstr("refused"));
}

TEST_P(FailureTest, AMismatchRevokesNoOtherCommunicator) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    ARROW_ASSIGN_OR_RAISE(auto part, comm.Split(comm.rank() == 0 ? 1 : 0, 0));
    if (comm.rank() != 0) {
      auto status = Repeat([&] { return CallNumber(*part, part->rank() == 0 ? 0 : 4); });
      if (!IsError(status, ErrorKind::kCollectiveMismatch) || !IsError(part->Check(), ErrorKind::kCollectiveMismatch)) {
        return arrow::Status::UnknownError("got ", status.ToString());
      }
    }
    return comm.Barrier();
  });
  testing::ExpectAllOk(statuses);
}

TEST_P(FailureTest, ALostRankIsNamedInEveryCollective) {
  for (int number = 0; number < kCalls; ++number) {
    for (Rank lost = 0; lost < ranks(); ++lost) {
      const auto statuses = Run([&](Context& context) {
        auto& comm = context.communicator();
        ARROW_RETURN_NOT_OK(comm.Barrier());
        if (comm.rank() == lost) {
          return arrow::Status::Cancelled("dies");
        }
        return Repeat([&] {
          ARROW_RETURN_NOT_OK(CallNumber(comm, number));
          return comm.Barrier();
        });
      });
      ASSERT_EQ(NotNamed(statuses, lost), "") << "call " << number << ", rank " << lost << " lost";
      const auto detail = GetErrorDetail(statuses[lost == 0 ? 1 : 0]);
      EXPECT_FALSE(detail->operation.empty()) << "call " << number << ": " << statuses[lost == 0 ? 1 : 0];
      EXPECT_FALSE(detail->host.empty());
      EXPECT_GT(detail->sequence, 0U);
    }
  }
}

TEST_P(FailureTest, ALostRankEndsAReceiveAndAllLaterCalls) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    ARROW_RETURN_NOT_OK(comm.Barrier());
    if (comm.rank() == 1) {
      return arrow::Status::Cancelled("dies");
    }
    auto status = comm.Receive(comm.rank() == 0 ? 1 : 0, 3).status();
    for (const auto& later :
         {comm.Check(), comm.Barrier(), comm.Send(0, BufferOf<int64_t>({1}), 3), comm.Revoked().status()}) {
      if (!IsError(later, ErrorKind::kRankFailed)) {
        return arrow::Status::UnknownError("later: ", later.ToString());
      }
    }
    const auto split = comm.Split(0, 0).status();
    if (!IsError(split, ErrorKind::kRankFailed) || GetErrorDetail(split)->operation.empty() ||
        GetErrorDetail(split)->sequence == 0) {
      return arrow::Status::UnknownError("a later Split: ", split.ToString());
    }
    return status;
  });
  EXPECT_EQ(NotNamed(statuses, 1), "");
  EXPECT_THAT(statuses[0].message(), HasSubstr("rank 1"));
}

TEST_P(FailureTest, CommunicatorsWithoutTheLostRankGoOn) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    ARROW_ASSIGN_OR_RAISE(auto part, comm.Split(comm.rank() == 1 ? 1 : 0, 0));
    if (comm.rank() == 1) {
      for (Rank other = 0; other < comm.size(); ++other) {  // dies when all have their communicators
        ARROW_RETURN_NOT_OK(other == 1 ? arrow::Status::OK() : comm.Receive(other, 0).status());
      }
      return arrow::Status::Cancelled("dies");
    }
    ARROW_RETURN_NOT_OK(comm.Send(1, BufferOf<int64_t>({1}), 0));
    auto status = Repeat([&] { return comm.Barrier(); });
    for (int i = 0; i < 20; ++i) {
      ARROW_RETURN_NOT_OK(CallNumber(*part, i % kCalls));
    }
    ARROW_RETURN_NOT_OK(context.Close());  // in order: the others may still be in their last call
    return status;
  });
  EXPECT_EQ(NotNamed(statuses, 1), "");
}

TEST_P(FailureTest, ARankThatLeavesIsNoFailureUntilItIsNeeded) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    ARROW_ASSIGN_OR_RAISE(auto part, comm.Split(comm.rank() == 1 ? 1 : 0, 0));
    ARROW_RETURN_NOT_OK(comm.Barrier());
    if (comm.rank() == 1) {
      return context.Close();
    }
    for (int i = 0; i < 20; ++i) {
      ARROW_RETURN_NOT_OK(CallNumber(*part, i % kCalls));
    }
    ARROW_RETURN_NOT_OK(comm.Check());
    return Repeat([&] { return comm.Barrier(); });
  });
  EXPECT_TRUE(statuses[1].ok()) << statuses[1].ToString();
  EXPECT_EQ(NotNamed(statuses, 1), "");
  EXPECT_THAT(statuses[0].message(), HasSubstr("left the job (its program ended) while this rank waits in Barrier()"));
}

TEST_P(FailureTest, AnInterruptedWaitRevokesHereAndTellsTheOthers) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    ARROW_RETURN_NOT_OK(comm.Barrier());
    if (comm.rank() == 1) {
      context.executor().SetInterruptHook([] { return arrow::Status::Cancelled("Ctrl-C"); });
      auto status = comm.Receive(0, 9).status();  // which nobody sends
      context.executor().SetInterruptHook(nullptr);
      EXPECT_EQ(status.message(), "Ctrl-C");
      EXPECT_THAT(comm.Barrier().message(), HasSubstr("this rank gave up"));
      return context.Close();
    }
    if (GetParam().kind == Kind::kSim) {
      // Hooks are asked every so many decisions: there have to be some.
      for (int i = 0; i < 200; ++i) {
        auto ticks = arrow::Future<>::Make();
        context.executor().PostAt(context.executor().Now() + std::chrono::milliseconds(1),
                                  [ticks]() mutable { ticks.MarkFinished(); });
        ARROW_RETURN_NOT_OK(context.executor().Await(ticks));
      }
    }
    return comm.Barrier();
  });
  EXPECT_TRUE(statuses[1].ok()) << statuses[1].ToString();
  EXPECT_EQ(NotNamed(statuses, 1), "");
  EXPECT_EQ(GetErrorDetail(statuses[0])->cause, "interrupted");
}

TEST_P(FailureTest, LargeMessagesUnderWayDoNotHoldUpTheError) {
  const auto statuses = Run([&](Context& context) {
    auto& comm = context.communicator();
    std::shared_ptr<arrow::Buffer> large = *arrow::AllocateBuffer(4 << 20);
    ARROW_RETURN_NOT_OK(comm.Barrier());
    if (comm.rank() == 2) {
      return arrow::Status::Cancelled("dies");
    }
    std::vector<arrow::Future<Buffers>> gathers;
    for (int i = 0; i < 4; ++i) {
      gathers.push_back(comm.AllGatherAsync(large));
    }
    auto send = comm.SendAsync(comm.rank() == 0 ? 1 : 0, large, 4);  // nobody receives it
    for (const auto& gather : gathers) {
      if (!IsError(comm.Await(gather).status(), ErrorKind::kRankFailed)) {
        return arrow::Status::UnknownError("a gather gave ", gather.status().ToString());
      }
    }
    (void)comm.Await(send);  // fails, or was discarded by a rank that heard of the loss before this one
    return comm.Barrier();
  });
  EXPECT_EQ(NotNamed(statuses, 2), "");
}

TEST(SimulatedLossTest, AtAnyMomentEverySurvivorNamesTheLostRank) {
  testing::ForEachSeed(150, 5000, [](uint64_t seed) -> std::string {
    ThreadWorld world;
    world.kind = Kind::kSim;
    world.ranks = 2 + static_cast<int>(seed % 6);
    world.seed = seed;
    world.kill_rank = static_cast<Rank>((seed / 6) % static_cast<uint64_t>(world.ranks));
    world.kill_after = 40 + static_cast<int64_t>((seed * 7919) % 1500);
    const auto statuses = RunRanks(world, [&](Context& context) {
      for (int i = 0; i < 100000; ++i) {
        ARROW_RETURN_NOT_OK(CallNumber(context.communicator(), (i + static_cast<int>(seed)) % (kCalls - 1)));
      }
      return arrow::Status::OK();
    });
    return NotNamed(statuses, world.kill_rank);
  });
}

TEST(LauncherWordTest, SurvivesItsEncodingAndRefusesAnythingElse) {
  const auto word = *DecodeLauncherWord(EncodeLauncherWord({2, "killed by signal 9 (SIGKILL)"}));
  EXPECT_EQ(word.rank, 2);
  EXPECT_EQ(word.cause, "killed by signal 9 (SIGKILL)");
  EXPECT_EQ(LauncherWordKey("job", "e1", 3), "job/e1/launcher-word/3");
  for (const char* text : {"", "[]", "{}", R"({"rank":"2","cause":"x"})", R"({"rank":2})"}) {
    EXPECT_TRUE(IsError(DecodeLauncherWord(text).status(), ErrorKind::kProtocol)) << text;
  }
}

TEST(ForkTest, AContextIsUselessInAForkedChild) {
  auto context = *Context::Local();
  const pid_t child = ::fork();
  if (child == 0) {
    const auto status = context->communicator().Barrier();
    const auto closed = context->Close();
    context.reset();
    const bool right = status.IsInvalid() && status.message().find("forked") != std::string::npos && closed.IsInvalid();
    ::_exit(right ? 0 : 1);
  }
  int result = -1;
  ASSERT_EQ(::waitpid(child, &result, 0), child);
  EXPECT_EQ(result, 0);
  EXPECT_TRUE(context->communicator().Barrier().ok());
}

}  // namespace
}  // namespace cylon
