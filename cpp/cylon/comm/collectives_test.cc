// Every collective against a naive answer, on every kind of world.
#include <gtest/gtest.h>

#include <numeric>

#include "cylon/comm/context.h"
#include "cylon/comm/testing/joined_ranks.h"
#include "cylon/comm/testing/ranks.h"

namespace cylon {
namespace {

using testing::BufferOf;
using testing::EachWorld;
using testing::ExpectAllOk;
using testing::ValuesOf;

using BufferPtr = std::shared_ptr<arrow::Buffer>;

#ifdef CYLON_SANITIZED
constexpr int64_t kLarge = 3 << 18;
#else
constexpr int64_t kLarge = 5 << 19;
#endif

/// Bytes that tell who sent them to whom.
BufferPtr Pattern(Rank from, Rank to, int64_t size) {
  std::string block(251, '\0');
  for (size_t i = 0; i < block.size(); ++i) {
    block[i] = static_cast<char>(i * 31 + static_cast<size_t>(from) * 7 + static_cast<size_t>(to));
  }
  std::string bytes;
  bytes.reserve(static_cast<size_t>(size));
  while (bytes.size() < static_cast<size_t>(size)) {
    bytes.append(block, 0, static_cast<size_t>(size) - bytes.size());
  }
  return arrow::Buffer::FromString(std::move(bytes));
}

arrow::Status ExpectBytes(const BufferPtr& got, const BufferPtr& expected, const std::string& what) {
  if (got == nullptr || !got->Equals(*expected)) {
    return arrow::Status::UnknownError(what, ": got ", got == nullptr ? -1 : got->size(), " bytes, expected ",
                                       expected->size());
  }
  return arrow::Status::OK();
}

/// How many ranks, and what lies between them.
struct CollectivesWorld {
  std::string name;
  int ranks;
  std::function<std::vector<arrow::Status>(const testing::RankBody&)> run;
};

void PrintTo(const CollectivesWorld& world, std::ostream* out) { *out << world.ranks << " ranks, " << world.name; }

/// Every kind of world; and what functions behind gateways have: holes, the relay, Redis and objects.
std::vector<CollectivesWorld> EachCollectivesWorld() {
  std::vector<CollectivesWorld> all;
  for (const auto& parameter : EachWorld({1, 2, 3, 5, 7, 8})) {
    all.push_back({testing::ToString(parameter.kind), parameter.ranks, [parameter](const testing::RankBody& body) {
                     return RunRanks(testing::MakeThreadWorld(parameter), body);
                   }});
  }
  for (const int ranks : {2, 5}) {
    all.push_back(
        {"punch", ranks, [ranks](const testing::RankBody& body) { return testing::RunPunched(ranks, false, body); }});
    all.push_back(
        {"relay", ranks, [ranks](const testing::RankBody& body) { return testing::RunPunched(ranks, true, body); }});
    if (testing::RedisServer::IsInstalled()) {
      all.push_back(
          {"redis", ranks, [ranks](const testing::RankBody& body) { return testing::RunOverRedis(ranks, body); }});
    }
    all.push_back(
        {"object", ranks, [ranks](const testing::RankBody& body) { return testing::RunOverObjects(ranks, body); }});
  }
  return all;
}

class CollectivesTest : public ::testing::TestWithParam<CollectivesWorld> {
 protected:
  void Run(const std::function<arrow::Status(Communicator&)>& body) {
    ExpectAllOk(GetParam().run([&](Context& context) { return body(context.communicator()); }));
  }
};

INSTANTIATE_TEST_SUITE_P(Worlds, CollectivesTest, ::testing::ValuesIn(EachCollectivesWorld()),
                         [](const auto& info) { return info.param.name + std::to_string(info.param.ranks); });

TEST_P(CollectivesTest, BuffersOfEveryLengthArriveWhereTheyBelong) {
  Run([](Communicator& comm) -> arrow::Status {
    const Rank rank = comm.rank();
    for (const int64_t size : {int64_t{0}, int64_t{8}, int64_t{8191}, kLarge}) {
      for (const Rank root : {0, comm.size() - 1}) {
        ARROW_ASSIGN_OR_RAISE(auto value, comm.Broadcast(rank == root ? Pattern(root, 0, size) : nullptr, root));
        ARROW_RETURN_NOT_OK(ExpectBytes(value, Pattern(root, 0, size), "broadcast"));
        ARROW_ASSIGN_OR_RAISE(auto gathered, comm.Gather(Pattern(rank, 1, size + rank), root));
        if (gathered.size() != (rank == root ? static_cast<size_t>(comm.size()) : 0)) {
          return arrow::Status::UnknownError("gather gave ", gathered.size(), " buffers");
        }
        for (size_t from = 0; from < gathered.size(); ++from) {
          const auto peer = static_cast<Rank>(from);
          ARROW_RETURN_NOT_OK(ExpectBytes(gathered[from], Pattern(peer, 1, size + peer), "gather"));
        }
        Buffers scattered;
        for (Rank to = 0; rank == root && to < comm.size(); ++to) {
          scattered.push_back(Pattern(root, to, size + int64_t{2} * to));
        }
        ARROW_ASSIGN_OR_RAISE(value, comm.Scatter(scattered, root));
        ARROW_RETURN_NOT_OK(ExpectBytes(value, Pattern(root, rank, size + int64_t{2} * rank), "scatter"));
      }
      ARROW_ASSIGN_OR_RAISE(auto all, comm.AllGather(Pattern(rank, 2, size + rank)));
      Buffers outgoing;
      for (Rank to = 0; to < comm.size(); ++to) {
        ARROW_RETURN_NOT_OK(ExpectBytes(all[static_cast<size_t>(to)], Pattern(to, 2, size + to), "allgather"));
        outgoing.push_back(Pattern(rank, to, (rank + to) % 2 == 0 ? size : 5));
      }
      ARROW_ASSIGN_OR_RAISE(auto incoming, comm.AllToAll(outgoing));
      for (Rank from = 0; from < comm.size(); ++from) {
        ARROW_RETURN_NOT_OK(ExpectBytes(incoming[static_cast<size_t>(from)],
                                        Pattern(from, rank, (rank + from) % 2 == 0 ? size : 5), "alltoall"));
      }
    }
    return arrow::Status::OK();
  });
}

/// Small whole numbers, so that sums and products are exact in every type.
template <typename T>
std::vector<T> Operands(Rank rank, size_t count) {
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<T>((static_cast<size_t>(rank) * 5 + i * 3) % 4);
  }
  return values;
}

template <typename T>
T Naive(ReduceOp op, T a, T b) {
  switch (op) {
    case ReduceOp::kSum:
      return static_cast<T>(a + b);
    case ReduceOp::kMin:
      return std::min(a, b);
    case ReduceOp::kMax:
      return std::max(a, b);
    case ReduceOp::kProd:
      return static_cast<T>(a * b);
    case ReduceOp::kLogicalAnd:
      return static_cast<T>(a != 0 && b != 0);
    case ReduceOp::kLogicalOr:
      return static_cast<T>(a != 0 || b != 0);
    case ReduceOp::kBitAnd:
      return static_cast<T>(static_cast<int64_t>(a) & static_cast<int64_t>(b));
    case ReduceOp::kBitOr:
      return static_cast<T>(static_cast<int64_t>(a) | static_cast<int64_t>(b));
  }
  return a;
}

template <typename T>
arrow::Status CheckReductions(Communicator& comm, ElementType type) {
  const bool floats = std::is_floating_point_v<T>;
  for (int number = 0; number <= static_cast<int>(ReduceOp::kBitOr); ++number) {
    const auto op = static_cast<ReduceOp>(number);
    const bool bits = op == ReduceOp::kBitAnd || op == ReduceOp::kBitOr;
    const size_t count = 13;
    const auto own = BufferOf(Operands<T>(comm.rank(), count));
    if (floats && bits) {
      if (!comm.AllReduce(own, type, op).status().IsInvalid()) {
        return arrow::Status::UnknownError("a bit operation on floats was not refused");
      }
      continue;
    }
    auto expected = Operands<T>(0, count);
    for (Rank rank = 1; rank < comm.size(); ++rank) {
      const auto theirs = Operands<T>(rank, count);
      for (size_t i = 0; i < count; ++i) {
        expected[i] = Naive<T>(op, expected[i], theirs[i]);
      }
    }
    if (comm.size() == 1 && (op == ReduceOp::kLogicalAnd || op == ReduceOp::kLogicalOr)) {
      expected = Operands<T>(0, count);  // nothing to combine with
    }
    const std::string what = "reduction " + std::to_string(number) + " of type " + std::to_string(type);
    ARROW_ASSIGN_OR_RAISE(auto all, comm.AllReduce(own, type, op));
    ARROW_RETURN_NOT_OK(ExpectBytes(all, BufferOf(expected), what));
    const Rank root = number % comm.size();
    ARROW_ASSIGN_OR_RAISE(auto one, comm.Reduce(own, type, op, root));
    if (comm.rank() == root) {
      ARROW_RETURN_NOT_OK(ExpectBytes(one, BufferOf(expected), what + " at its root"));
    } else if (one != nullptr) {
      return arrow::Status::UnknownError("a rank that is not the root got a value");
    }
  }
  return arrow::Status::OK();
}

TEST_P(CollectivesTest, EveryReductionOfEveryTypeIsRight) {
  Run([](Communicator& comm) -> arrow::Status {
    ARROW_RETURN_NOT_OK(CheckReductions<int8_t>(comm, arrow::Type::INT8));
    ARROW_RETURN_NOT_OK(CheckReductions<int16_t>(comm, arrow::Type::INT16));
    ARROW_RETURN_NOT_OK(CheckReductions<int32_t>(comm, arrow::Type::INT32));
    ARROW_RETURN_NOT_OK(CheckReductions<int64_t>(comm, arrow::Type::INT64));
    ARROW_RETURN_NOT_OK(CheckReductions<uint8_t>(comm, arrow::Type::UINT8));
    ARROW_RETURN_NOT_OK(CheckReductions<uint16_t>(comm, arrow::Type::UINT16));
    ARROW_RETURN_NOT_OK(CheckReductions<uint32_t>(comm, arrow::Type::UINT32));
    ARROW_RETURN_NOT_OK(CheckReductions<uint64_t>(comm, arrow::Type::UINT64));
    ARROW_RETURN_NOT_OK(CheckReductions<float>(comm, arrow::Type::FLOAT));
    ARROW_RETURN_NOT_OK(CheckReductions<double>(comm, arrow::Type::DOUBLE));
    const uint8_t own = comm.rank() == 0 ? 0 : 1;
    ARROW_ASSIGN_OR_RAISE(auto both, comm.AllReduce(BufferOf<uint8_t>({own, 1}), arrow::Type::BOOL, ReduceOp::kSum));
    const uint8_t any = comm.size() > 1 ? 1 : 0;
    ARROW_RETURN_NOT_OK(ExpectBytes(both, BufferOf<uint8_t>({any, 1}), "sum of bool"));
    ARROW_ASSIGN_OR_RAISE(int64_t total, comm.AllReduce(int64_t{comm.rank()}, ReduceOp::kSum));
    ARROW_ASSIGN_OR_RAISE(double most, comm.AllReduce(0.5 * comm.rank(), ReduceOp::kMax));
    if (total != comm.size() * (comm.size() - 1) / 2 || most != 0.5 * (comm.size() - 1)) {
      return arrow::Status::UnknownError("one number: sum ", total, ", max ", most);
    }
    return arrow::Status::OK();
  });
}

TEST_P(CollectivesTest, SumsOfFloatsHaveTheSameBitsAtEveryRank) {
  Run([](Communicator& comm) -> arrow::Status {
    std::vector<double> own(1000);
    for (size_t i = 0; i < own.size(); ++i) {
      own[i] = 1.0 / (static_cast<double>(i) + 0.37 * comm.rank() + 1) * (i % 2 == 0 ? 1e9 : 1);
    }
    ARROW_ASSIGN_OR_RAISE(auto sum, comm.AllReduce(BufferOf(own), arrow::Type::DOUBLE, ReduceOp::kSum));
    ARROW_ASSIGN_OR_RAISE(auto sums, comm.AllGather(sum));
    for (const auto& theirs : sums) {
      ARROW_RETURN_NOT_OK(ExpectBytes(theirs, sum, "sum of doubles"));
    }
    return arrow::Status::OK();
  });
}

TEST_P(CollectivesTest, ManyCallsMayBeUnderWayAtOnce) {
  Run([](Communicator& comm) -> arrow::Status {
    std::vector<arrow::Future<Buffers>> gathers;
    std::vector<arrow::Future<BufferPtr>> sums;
    std::vector<arrow::Future<>> barriers;
    for (int64_t i = 0; i < 60; ++i) {
      gathers.push_back(comm.AllGatherAsync(Pattern(comm.rank(), static_cast<Rank>(i), i * 500)));
      sums.push_back(comm.AllReduceAsync(BufferOf<int64_t>({i}), arrow::Type::INT64, ReduceOp::kSum));
      barriers.push_back(comm.BarrierAsync());
    }
    for (size_t i = sums.size(); i-- > 0;) {
      ARROW_RETURN_NOT_OK(comm.Await(barriers[i]));
      ARROW_ASSIGN_OR_RAISE(auto sum, comm.Await(sums[i]));
      const auto count = static_cast<int64_t>(i);
      ARROW_RETURN_NOT_OK(ExpectBytes(sum, BufferOf<int64_t>({count * comm.size()}), "sum"));
      ARROW_ASSIGN_OR_RAISE(auto all, comm.Await(gathers[i]));
      for (Rank from = 0; from < comm.size(); ++from) {
        ARROW_RETURN_NOT_OK(
            ExpectBytes(all[static_cast<size_t>(from)], Pattern(from, static_cast<Rank>(i), count * 500), "allgather"));
      }
    }
    return arrow::Status::OK();
  });
}

TEST_P(CollectivesTest, EveryCallMayBeMadeWithoutWaiting) {
  Run([](Communicator& comm) -> arrow::Status {
    const Rank rank = comm.rank();
    const Rank root = comm.size() - 1;
    const Rank next = (rank + 1) % comm.size();
    const Rank before = (rank + comm.size() - 1) % comm.size();
    const auto one = BufferOf<int64_t>({rank + 1});
    Buffers outgoing;
    Buffers scattered;
    for (Rank to = 0; to < comm.size(); ++to) {
      outgoing.push_back(Pattern(rank, to, 1000 + to));
      if (rank == root) {
        scattered.push_back(Pattern(root, to, 2000 + to));
      }
    }
    // All of them are under way before the first is waited for, and waited for in another order.
    auto barrier = comm.BarrierAsync();
    auto all_reduce = comm.AllReduceAsync(one, arrow::Type::INT64, ReduceOp::kSum);
    auto reduce = comm.ReduceAsync(one, arrow::Type::INT64, ReduceOp::kSum, root);
    auto broadcast = comm.BroadcastAsync(rank == root ? Pattern(root, 0, 3000) : nullptr, root);
    auto all_gather = comm.AllGatherAsync(Pattern(rank, 2, 100 + rank));
    auto gather = comm.GatherAsync(Pattern(rank, 3, 100 + rank), root);
    auto scatter = comm.ScatterAsync(scattered, root);
    auto all_to_all = comm.AllToAllAsync(outgoing);
    auto agree = comm.AgreeAsync({"Test(a)", arrow::Status::OK(), {rank}});
    auto receive = comm.ReceiveAsync(before, 4);
    auto send = comm.SendAsync(next, Pattern(rank, next, 500), 4);

    ARROW_RETURN_NOT_OK(comm.Await(send));
    ARROW_ASSIGN_OR_RAISE(auto value, comm.Await(receive));
    ARROW_RETURN_NOT_OK(ExpectBytes(value, Pattern(before, rank, 500), "receive"));
    ARROW_ASSIGN_OR_RAISE(auto agreement, comm.Await(agree));
    const int64_t sum = int64_t{comm.size()} * (comm.size() + 1) / 2;
    if (agreement.Sum(0) != sum - comm.size()) {
      return arrow::Status::UnknownError("agreement: sum ", agreement.Sum(0));
    }
    ARROW_ASSIGN_OR_RAISE(auto incoming, comm.Await(all_to_all));
    ARROW_ASSIGN_OR_RAISE(auto all, comm.Await(all_gather));
    ARROW_ASSIGN_OR_RAISE(auto gathered, comm.Await(gather));
    if (gathered.size() != (rank == root ? all.size() : 0)) {
      return arrow::Status::UnknownError("gather gave ", gathered.size(), " buffers");
    }
    for (Rank from = 0; from < comm.size(); ++from) {
      const auto at = static_cast<size_t>(from);
      ARROW_RETURN_NOT_OK(ExpectBytes(incoming[at], Pattern(from, rank, 1000 + rank), "alltoall"));
      ARROW_RETURN_NOT_OK(ExpectBytes(all[at], Pattern(from, 2, 100 + from), "allgather"));
      if (rank == root) {
        ARROW_RETURN_NOT_OK(ExpectBytes(gathered[at], Pattern(from, 3, 100 + from), "gather"));
      }
    }
    ARROW_ASSIGN_OR_RAISE(value, comm.Await(scatter));
    ARROW_RETURN_NOT_OK(ExpectBytes(value, Pattern(root, rank, 2000 + rank), "scatter"));
    ARROW_ASSIGN_OR_RAISE(value, comm.Await(broadcast));
    ARROW_RETURN_NOT_OK(ExpectBytes(value, Pattern(root, 0, 3000), "broadcast"));
    ARROW_ASSIGN_OR_RAISE(value, comm.Await(reduce));
    if (rank == root) {
      ARROW_RETURN_NOT_OK(ExpectBytes(value, BufferOf<int64_t>({sum}), "reduce"));
    }
    ARROW_ASSIGN_OR_RAISE(value, comm.Await(all_reduce));
    ARROW_RETURN_NOT_OK(ExpectBytes(value, BufferOf<int64_t>({sum}), "allreduce"));
    return comm.Await(barrier);
  });
}

TEST_P(CollectivesTest, NobodyLeavesABarrierBeforeAllHaveCome) {
  std::atomic<int> came{0};
  Run([&](Communicator& comm) -> arrow::Status {
    for (int round = 1; round <= 20; ++round) {
      came.fetch_add(1);
      ARROW_RETURN_NOT_OK(comm.Barrier());
      if (came.load() < round * comm.size()) {
        return arrow::Status::UnknownError("left barrier ", round, " when ", came.load(), " had come");
      }
    }
    return arrow::Status::OK();
  });
}

TEST_P(CollectivesTest, MessagesWithTagsKeepTheirOrder) {
  Run([](Communicator& comm) -> arrow::Status {
    const Rank right = (comm.rank() + 1) % comm.size();
    const Rank left = (comm.rank() + comm.size() - 1) % comm.size();
    std::vector<arrow::Future<>> sends;
    for (Rank i = 0; i < 10; ++i) {
      sends.push_back(comm.SendAsync(right, Pattern(comm.rank(), i, int64_t{20000} * i), 5));
      sends.push_back(comm.SendAsync(right, Pattern(comm.rank(), 100 + i, i), 6));
    }
    for (const Rank base : {100, 0}) {
      for (Rank i = 0; i < 10; ++i) {
        ARROW_ASSIGN_OR_RAISE(auto value, comm.Receive(left, base == 0 ? 5 : 6));
        ARROW_RETURN_NOT_OK(ExpectBytes(value, Pattern(left, base + i, base == 0 ? int64_t{20000} * i : i), "message"));
      }
    }
    for (const auto& send : sends) {
      ARROW_RETURN_NOT_OK(comm.Await(send));
    }
    return arrow::Status::OK();
  });
}

TEST_P(CollectivesTest, SplitMakesCommunicatorsOfTheirOwn) {
  Run([](Communicator& comm) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto part, comm.Split(comm.rank() % 2, -comm.rank()));
    const int expected = comm.rank() % 2 == 0 ? (comm.size() + 1) / 2 : comm.size() / 2;
    if (part->size() != expected || part->ToWorld(part->rank()) != comm.rank() ||
        part->FromWorld(comm.rank()) != part->rank()) {
      return arrow::Status::UnknownError("rank ", part->rank(), " of ", part->size());
    }
    // Both are used at once, and the parent too.
    auto whole = comm.AllGatherAsync(BufferOf<int64_t>({comm.rank()}));
    ARROW_ASSIGN_OR_RAISE(auto all, part->AllGather(BufferOf<int64_t>({comm.rank()})));
    for (size_t i = 0; i < all.size(); ++i) {
      const Rank first = (comm.size() - 1) - ((comm.size() - 1) % 2 == comm.rank() % 2 ? 0 : 1);
      if (ValuesOf<int64_t>(*all[i])[0] != first - 2 * static_cast<Rank>(i)) {
        return arrow::Status::UnknownError("the keys do not order the ranks");
      }
    }
    ARROW_RETURN_NOT_OK(comm.Await(whole).status());
    ARROW_ASSIGN_OR_RAISE(auto alone, part->Split(part->rank(), 0));
    ARROW_ASSIGN_OR_RAISE(int64_t own, alone->AllReduce(int64_t{comm.rank()}, ReduceOp::kSum));
    ARROW_ASSIGN_OR_RAISE(auto none, comm.Split(comm.rank() == 0 ? 0 : -1, 0));
    if (own != comm.rank() || (none == nullptr) != (comm.rank() != 0)) {
      return arrow::Status::UnknownError("a communicator of one gave ", own);
    }
    return comm.Barrier();
  });
}

TEST_P(CollectivesTest, AgreementSharesValues) {
  Run([](Communicator& comm) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto agreement, comm.Agree({"Test(a)", arrow::Status::OK(), {comm.rank(), -comm.rank()}}));
    if (agreement.Sum(0) != comm.size() * (comm.size() - 1) / 2 || agreement.Max(1) != 0 ||
        agreement.values.size() != static_cast<size_t>(comm.size())) {
      return arrow::Status::UnknownError("sum ", agreement.Sum(0), ", max ", agreement.Max(1));
    }
    return arrow::Status::OK();
  });
}

TEST_P(CollectivesTest, ALocalErrorReachesAllAndTheCommunicatorStaysUsable) {
  if (GetParam().ranks < 3) {
    GTEST_SKIP() << "needs three ranks";
  }
  Run([](Communicator& comm) -> arrow::Status {
    const auto own = comm.rank() == 2 ? arrow::Status::IOError("disk full") : arrow::Status::OK();
    auto status = comm.Agree({"Write(x)", own, {}}).status();
    const auto detail = GetErrorDetail(status);
    if (comm.rank() == 2 ? !status.Equals(own) : (detail == nullptr || detail->rank != 2)) {
      return arrow::Status::UnknownError("got ", status.ToString());
    }
    const std::string signature = comm.rank() == 2 ? "Sort(keys [a])" : "Join(inner, keys [a])";
    status = comm.Agree({signature, arrow::Status::OK(), {}}).status();
    const std::string at = " at collectives_test.cc:" + std::to_string(__LINE__ - 1);
    if (!IsError(status, ErrorKind::kCollectiveMismatch) ||
        status.message() != "rank 0 called Join(inner, keys [a])" + at + " but rank 2 called Sort(keys [a])" + at +
                                "; every rank has to make the same calls in the same order") {
      return arrow::Status::UnknownError("got ", status.ToString());
    }
    return comm.Barrier();
  });
}

TEST_P(CollectivesTest, ArgumentsThatNoRankCanUseAreRefusedAndChangeNothing) {
  Run([](Communicator& comm) -> arrow::Status {
    const auto value = BufferOf<int64_t>({1});
    const std::vector<arrow::Status> refused{
        comm.Broadcast(value, comm.size()).status(),
        comm.Gather(value, -1).status(),
        comm.AllGather(nullptr).status(),
        comm.AllToAll({}).status(),
        comm.AllReduce(value, arrow::Type::STRING, ReduceOp::kSum).status(),
        comm.AllReduce(BufferOf<uint8_t>({1, 2, 3}), arrow::Type::INT16, ReduceOp::kSum).status(),
        comm.Split(-5, 0).status(),
        comm.Send(comm.size(), value, 0),
        comm.Receive(0, -1).status(),
    };
    for (const auto& status : refused) {
      if (!status.IsInvalid() || status.message().find(';') == std::string::npos) {
        return arrow::Status::UnknownError("got ", status.ToString());
      }
    }
    return comm.Barrier();
  });
}

TEST(LocalContextTest, IsAWorldOfOne) {
  auto context = *Context::Local();
  EXPECT_EQ(context->rank(), 0);
  EXPECT_EQ(context->world_size(), 1);
  EXPECT_TRUE(context->communicator().Barrier().ok());
  EXPECT_EQ(*context->communicator().AllReduce(int64_t{4}, ReduceOp::kSum), 4);
  auto part = *context->Split(0, 0);
  EXPECT_TRUE(part->communicator().Barrier().ok());
  EXPECT_EQ(*context->Split(-1, 0), nullptr);
  EXPECT_TRUE(context->Close().ok());
  EXPECT_TRUE(context->communicator().Barrier().IsInvalid());
  EXPECT_TRUE(part->communicator().Send(0, BufferOf<int64_t>({1}), 0).IsInvalid());
}

}  // namespace
}  // namespace cylon
