// What ranks wait for, in words.
#include "cylon/comm/rank_report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "cylon/base/readable.h"
#include "cylon/comm/endpoint.h"

namespace cylon::internal {

namespace {

std::string InSeconds(Duration duration) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f s", std::chrono::duration<double>(duration).count());
  return text;
}

std::string Numbered(const std::string& operation, uint64_t sequence) {
  return sequence == 0 ? operation : operation + " (operation " + std::to_string(sequence) + ")";
}

/// " for ranks 0 and 3", in numbers of the world.
std::string ForWhom(const Group& group, const std::set<Rank>& ranks) {
  std::vector<Rank> named;
  for (const Rank rank : ranks) {
    if (rank != group.rank()) {
      named.push_back(group.ToWorld(rank));
    }
  }
  std::ranges::sort(named);
  return named.empty() ? "" : " for " + ReadableRanks(named);
}

/// "  connected to ranks 1 and 2 by punch, to rank 3 by relay\n", where the transport knows ways.
std::string Ways(Lanes& lanes) {
  std::map<std::string, std::vector<Rank>> by_way;
  for (Rank rank = 0; rank < lanes.world_size(); ++rank) {
    if (rank != lanes.rank()) {
      by_way[lanes.transport().way(rank)].push_back(rank);
    }
  }
  by_way.erase("");
  std::string text;
  for (const auto& [way, ranks] : by_way) {
    text += text.empty() ? "  connected to " : ", to ";
    text += ReadableRanks(ranks) + " by " + way;
  }
  return text.empty() ? text : text + "\n";
}

}  // namespace

RankReport::RankReport(std::weak_ptr<Endpoint> endpoint, Executor& executor, Rank rank, int size)
    : endpoint_(std::move(endpoint)), executor_(executor), rank_(rank), size_(size), since_(executor.Now()) {}

void RankReport::OnCall(const Call& call, uint64_t sequence) {
  const std::lock_guard<std::mutex> lock(mutex_);
  call_ = call;
  sequence_ = sequence;
}

RankReport::Wait::Wait(RankReport* report, const Group& group, const AwaitedRanks& awaited) : report_(report) {
  if (report_ != nullptr) {
    const auto now = report_->executor_.Now();
    const std::lock_guard<std::mutex> lock(report_->mutex_);
    report_->since_ = now;
    report_->waits_in_ = &group;
    report_->awaited_ = &awaited;
  }
}

RankReport::Wait::~Wait() {
  if (report_ != nullptr) {
    const auto now = report_->executor_.Now();
    const std::lock_guard<std::mutex> lock(report_->mutex_);
    report_->since_ = now;
    report_->waits_in_ = nullptr;
    report_->awaited_ = nullptr;
  }
}

RankReport::Doing RankReport::Now() const {
  const auto now = executor_.Now();
  const std::lock_guard<std::mutex> lock(mutex_);
  return {waits_in_ != nullptr, now - since_, sequence_, sequence_ == 0 ? "" : ToText(call_)};
}

std::set<Rank> RankReport::Awaited() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::set<Rank> ranks;
  if (waits_in_ != nullptr) {
    auto awaited = waits_in_->Awaited();
    if (awaited_ != nullptr && *awaited_) {
      const auto more = (*awaited_)();
      awaited.insert(more.begin(), more.end());
    }
    for (const Rank rank : awaited) {
      if (rank != waits_in_->rank()) {
        ranks.insert(waits_in_->ToWorld(rank));
      }
    }
  }
  return ranks;
}

void RankReport::Ask(std::function<void(std::string)> answer) {
  executor_.Post([self = shared_from_this(), answer = std::move(answer)] {
    if (auto endpoint = self->endpoint_.lock(); endpoint && !endpoint->closed()) {
      answer(self->Describe(*endpoint));
    }
  });
}

std::string RankReport::Name() const { return "rank " + std::to_string(rank_) + " of " + std::to_string(size_); }

std::string RankReport::State(TimePoint now) const {
  return (waits_in_ != nullptr ? " waits " : " computes since ") + InSeconds(now - since_);
}

std::string RankReport::LastKnown() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string text = Name() + State(executor_.Now());
  const std::string operation = waits_in_ != nullptr ? waits_in_->operation() : "";
  if (!operation.empty()) {
    text += " in " + operation;
  }
  if (sequence_ != 0) {
    text += "; its last call was " + Numbered(ToText(call_), sequence_);
  }
  if (waits_in_ != nullptr && awaited_ != nullptr && *awaited_) {
    const auto ranks = (*awaited_)();
    text += ForWhom(*waits_in_, {ranks.begin(), ranks.end()});
  }
  return text + "\n  its tasks have not run for 1 s: more is not known\n";
}

std::string RankReport::Describe(Endpoint& endpoint) const {
  std::string text;
  const Group* waits_in = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waits_in = waits_in_;
    text = Name() + State(executor_.Now());
    if (waits_in != nullptr) {
      uint64_t sequence = 0;
      const std::string operation = waits_in->FirstUnfinished(&sequence);
      text += operation.empty() ? "" : " in " + Numbered(operation, sequence);
      auto awaited = waits_in->Awaited();
      if (awaited_ != nullptr && *awaited_) {
        const auto more = (*awaited_)();
        awaited.insert(more.begin(), more.end());
      }
      text += ForWhom(*waits_in, awaited);
    } else if (sequence_ != 0) {
      text += "; last in " + Numbered(ToText(call_), sequence_);
    }
  }
  auto& lanes = endpoint.lanes();
  text += "; sent " + ReadableBytes(lanes.bytes_sent()) + ", received " + ReadableBytes(lanes.bytes_received()) + "\n" +
          Ways(lanes);
  std::map<Rank, int> in_flight;
  std::string others;
  for (const auto& group : endpoint.groups()) {
    group->AddInFlight(&in_flight);
    if (const auto status = group->Check(); !status.ok()) {
      others += "  communicator " + std::to_string(group->id()) + " is revoked: " + status.message() + "\n";
    }
    uint64_t sequence = 0;
    const std::string operation = group->FirstUnfinished(&sequence);
    const auto awaited = group->Awaited();
    if (group.get() != waits_in && (sequence != 0 || !awaited.empty())) {
      others += "  also under way in communicator " + std::to_string(group->id()) + " (" +
                ReadableRanks(group->members()) + "): " + Numbered(operation, sequence) + ForWhom(*group, awaited) +
                "\n";
    }
  }
  std::string flights;
  for (const auto& [to, count] : in_flight) {
    flights += (flights.empty() ? "  in flight: " : ", ") + std::to_string(count) +
               (count == 1 ? " message to rank " : " messages to rank ") + std::to_string(to);
  }
  return text + flights + (flights.empty() ? "" : "\n") + others;
}

}  // namespace cylon::internal
