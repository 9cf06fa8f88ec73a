// Joining and rejoining by a store that lies: a rank gets a world of the right size or an error, in its time.
#include "cylon/bootstrap/membership.h"

#include <algorithm>
#include <map>

#include "cylon/base/error.h"
#include "cylon/bootstrap/gathering.h"
#include "cylon/bootstrap/store.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

/// Keeps what is set, and where the input says so answers something else.
class LyingStore : public Store {
 public:
  explicit LyingStore(Input* lies) : lies_(lies) {}

  arrow::Future<> Set(const std::string& key, const std::string& value, Duration) override {
    values_[key] = value;
    return arrow::Future<>::MakeFinished(lies_->Byte() == 1 ? Gone() : arrow::Status::OK());
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value, Duration) override {
    return Answer(values_.emplace(key, value).first->second);
  }
  arrow::Future<std::string> Get(const std::string& key, TimePoint) override { return TryGet(key); }
  arrow::Future<std::string> TryGet(const std::string& key) override {
    const auto found = values_.find(key);
    return Answer(found == values_.end() ? arrow::Result<std::string>(arrow::Status::KeyError(key)) : found->second);
  }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration) override {
    int64_t& counter = counters_[key];
    counter = static_cast<int64_t>(static_cast<uint64_t>(counter) + static_cast<uint64_t>(amount));
    values_[key] = std::to_string(counter);
    switch (lies_->Byte()) {
      case 1:
        return arrow::Future<int64_t>::MakeFinished(Gone());
      case 2:
        return arrow::Future<int64_t>::MakeFinished(static_cast<int64_t>(lies_->Number(8)));
      default:
        return arrow::Future<int64_t>::MakeFinished(counter);
    }
  }
  arrow::Future<> Delete(const std::string& key) override {
    values_.erase(key);
    return arrow::Future<>::MakeFinished();
  }

 private:
  static arrow::Status Gone() { return arrow::Status::IOError("the store is gone"); }
  arrow::Future<std::string> Answer(arrow::Result<std::string> truth) {
    switch (lies_->Byte()) {
      case 1:
        return arrow::Future<std::string>::MakeFinished(Gone());
      case 2:
        return arrow::Future<std::string>::MakeFinished(std::string(lies_->Text()));
      case 3:
        return arrow::Future<std::string>::MakeFinished(arrow::Status::KeyError("none"));
      default:
        return arrow::Future<std::string>::MakeFinished(std::move(truth));
    }
  }

  Input* lies_;
  std::map<std::string, std::string> values_;
  std::map<std::string, int64_t> counters_;
};

// The first bytes choose the request; the others are the lies, one for each call of the store.
void RunMembership(std::string_view bytes) {
  Input in(bytes);
  const uint8_t kind = in.Byte();
  const int size = 1 + in.Byte() % 4;
  const Rank rank = in.Byte() % (size + 1) - 1;
  TaskQueue tasks;
  LyingStore store(&in);
  const AddressCard card{"node", 17, "tcp://127.0.0.1:4711"};
  const TimePoint deadline = tasks.Now() + std::chrono::seconds(20);
  arrow::Future<World> future;
  if (kind % 2 == 0) {
    JoinRequest request;
    request.job = "job";
    request.rank = rank;
    request.world_size = size;
    request.card = card;
    request.deadline = deadline;
    request.epoch = (kind & 2) != 0 ? "epoch" : "";
    future = Spawn(tasks, Join(&store, tasks, request));
  } else {
    GatherRequest request;
    request.job = "job";
    request.rank = rank;
    request.world_size = size;
    request.card = card;
    request.deadline = deadline;
    request.epoch = rank >= 0 ? "3-epoch" : "";
    request.gone = [rank] { return rank == 0 ? std::vector<Rank>{1} : std::vector<Rank>{}; };
    request.least_ranks = 1 + (kind >> 1 & 1);
    future = Spawn(tasks, Gather(&store, tasks, request));
  }
  tasks.RunAll();
  Require(future.is_finished(), "a rank waits without end");
  Require(tasks.Now() <= deadline + std::chrono::seconds(5), "a rank waits beyond its deadline");
  const auto& world = future.result();
  Require(!world.ok() || (world->rank >= 0 && world->rank < world->size()), "a rank that its world does not have");
  Require(!world.ok() || kind % 2 == 1 || world->size() == size, "a world of another size was joined");
}

std::vector<std::string> MembershipSeeds() {
  const std::string card = R"({"host":"n","process":1,"address":"a","nonce":"x","size":2,"drawn":false,"least":1})";
  const std::string table = "{\"cards\":[" + card + "," + card + "]}";
  std::vector<std::string> seeds;
  for (const uint8_t kind : {0, 1, 2, 3}) {
    for (const uint8_t rank : {0, 1, 2}) {
      // Honest; then one lie after so many answers.
      seeds.push_back(Output().Byte(kind).Byte(1).Byte(rank).bytes());
      for (const auto& lie : {card, table, std::string(R"({"epoch":"4-x","cards":[]})"), std::string("[[[[[[[[")}) {
        for (int honest = 0; honest < 5; ++honest) {
          Output out;
          out.Byte(kind).Byte(1).Byte(rank);
          for (int i = 0; i < honest; ++i) {
            out.Byte(0);
          }
          seeds.push_back(out.Byte(2).Text(lie).bytes());
        }
      }
    }
  }
  // Texts where numbers belong, a problem that is none, a count of arrivals far off.
  seeds.push_back(Output().Byte(2).Byte(1).Byte(1).Byte(2).Text(R"({"nonce":5,"size":"2","drawn":1})").bytes());
  seeds.push_back(Output().Byte(2).Byte(1).Byte(2).Byte(0).Byte(3).Byte(2).Text(R"({"code":0,"message":""})").bytes());
  seeds.push_back(
      Output().Byte(2).Byte(1).Byte(0).Byte(2).Number(UINT64_MAX - 4, 8).Byte(0).Byte(2).Text(table).bytes());
  seeds.push_back(
      Output().Byte(1).Byte(1).Byte(1).Byte(0).Byte(0).Byte(0).Byte(0).Byte(0).Byte(2).Text("9000000000").bytes());
  return seeds;
}

const Registration kMembership({"membership", RunMembership, MembershipSeeds});

}  // namespace
}  // namespace cylon::fuzz
