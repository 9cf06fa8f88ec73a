// Measuring the channels when a world forms, and agreeing on what to do with that.
#include <algorithm>
#include <cstring>

#include "cylon/net/choice/choice_core.h"
#include "cylon/net/punch/either.h"

namespace cylon::internal {

namespace {

enum ProbeType : uint32_t {
  kPing = 1,    ///< to be answered
  kPong = 2,    ///< with the number of what it answers
  kFill = 3,    ///< nothing but its size
  kReport = 4,  ///< to rank 0: what the sender has measured
  kPlan = 5,    ///< from rank 0
};

/// The first of them connects, the best of the others counts.
constexpr int kPings = 4;
constexpr int kFills = 2;
constexpr int64_t kFillBytes = 1 << 20;
/// A plan for 4,096 ranks has 32 MiB.
constexpr int64_t kMostProbeBytes = 64 << 20;

double SecondsOf(Duration time) { return std::chrono::duration<double>(time).count(); }

std::shared_ptr<arrow::Buffer> Filling() {
  return arrow::Buffer::FromString(std::string(static_cast<size_t>(kFillBytes), '\x5a'));
}

std::string_view TextOf(const Message& message) {
  if (message.segments.size() != 1) {
    return {};
  }
  return {reinterpret_cast<const char*>(message.segments[0]->data()), static_cast<size_t>(message.segments[0]->size())};
}

void FinishAt(Executor& executor, TimePoint when, arrow::Future<> future) {
  executor.PostAt(when, [future]() mutable {
    if (!future.is_finished()) {
      future.MarkFinished();
    }
  });
}

}  // namespace

struct ChoiceCore::ProbeHeader {
  uint32_t type = 0;
  uint32_t zero = 0;
  uint64_t number = 0;
};

arrow::Future<> ChoiceCore::SendProbe(int channel, Rank peer, uint32_t type, uint64_t number, Buffers segments) {
  const ChannelId id{0, 0, ChannelKind::kProbe, 0};
  return MemberAt(channel).channel.transport->Send(
      peer, Message{id, InlineBytes::Of(ProbeHeader{type, 0, number}), std::move(segments)});
}

arrow::Future<> ChoiceCore::Ask(int channel, Rank peer, uint32_t type) {
  if (phase_ != Phase::kPlanning) {
    return arrow::Future<>::MakeFinished(Closed());
  }
  const ProbeKey key{channel, peer, next_probe_++};
  auto answer = arrow::Future<>::Make();
  asked_.emplace(key, answer);
  SendProbe(channel, peer, type, std::get<2>(key), {})
      .AddCallback([weak = weak_from_this(), key](const arrow::Status& status) {
        if (auto self = weak.lock(); self && !status.ok()) {
          self->Answer(key, status);
        }
      });
  return answer;
}

void ChoiceCore::Answer(const ProbeKey& key, const arrow::Status& status) {
  if (auto asked = asked_.extract(key)) {
    asked.mapped().MarkFinished(status);
  }
}

Co<void> ChoiceCore::MeasurePeer(int channel, Rank peer) {
  const auto self = shared_from_this();
  const bool next = peer == (rank_ + 1) % size_;
  double latency = -1;
  for (int i = 0; i < kPings; ++i) {
    const auto sent = executor_.Now();
    const auto answer = Ask(channel, peer, kPing);
    (void)co_await Either(answer, measured_by_);
    if (phase_ != Phase::kPlanning || !answer.is_finished() || !answer.status().ok()) {
      break;
    }
    const double one_way = SecondsOf(executor_.Now() - sent) / 2;
    // The first one has connected the two.
    latency = i <= 1 ? one_way : std::min(latency, one_way);
  }
  if (phase_ != Phase::kPlanning) {
    co_return arrow::Status::OK();
  }
  own_.latency_s[static_cast<size_t>(channel)][static_cast<size_t>(peer)] = latency;
  own_.relayed[static_cast<size_t>(channel)][static_cast<size_t>(peer)] =
      latency >= 0 && ways_[static_cast<size_t>(WayTo(peer, channel))].relayed;
  if (!next || latency < 0) {
    co_return arrow::Status::OK();
  }
  const auto sent = executor_.Now();
  for (int i = 0; i < kFills; ++i) {
    (void)SendProbe(channel, peer, kFill, 0, {Filling()});
  }
  const auto answer = Ask(channel, peer, kPing);
  (void)co_await Either(answer, measured_by_);
  if (phase_ == Phase::kPlanning && answer.is_finished() && answer.status().ok()) {
    const double seconds = std::max(SecondsOf(executor_.Now() - sent) - 2 * latency, 1e-6);
    own_.bytes_per_s[static_cast<size_t>(channel)] = static_cast<double>(kFills * kFillBytes) / seconds;
  }
  co_return arrow::Status::OK();
}

Co<void> ChoiceCore::MeasureChannel(int channel) {
  const auto self = shared_from_this();
  if (phase_ != Phase::kPlanning) {
    co_return Closed();
  }
  // That a channel does not start, or not to everybody, is told by the peers that do not answer on it.
  (void)co_await Either(MemberAt(channel).channel.transport->Start(MemberAt(channel).sink.get()), measured_by_);
  std::vector<arrow::Future<>> measured;
  for (Rank peer = 0; peer < size_ && phase_ == Phase::kPlanning; ++peer) {
    if (peer != rank_ && PeerAt(channel, peer).state == PeerState::kThere) {
      measured.push_back(Spawn(executor_, MeasurePeer(channel, peer)));
    }
  }
  for (auto& each : measured) {
    (void)co_await each;
  }
  co_return arrow::Status::OK();
}

Co<void> ChoiceCore::Prepare() {
  const auto self = shared_from_this();
  own_.latency_s.assign(members_.size(), std::vector<double>(static_cast<size_t>(size_), -1));
  own_.relayed.assign(members_.size(), std::vector<bool>(static_cast<size_t>(size_)));
  own_.bytes_per_s.assign(members_.size(), 0);
  const auto now = executor_.Now();
  FinishAt(executor_, now + settings_.patience, measured_by_);
  FinishAt(executor_, now + 2 * settings_.patience, planned_by_);
  for (Rank peer = 1; rank_ == 0 && peer < size_; ++peer) {
    reports_.emplace(peer, arrow::Future<Measurement>::Make());
  }
  std::vector<arrow::Future<>> measured;
  for (int channel = 0; channel < channels(); ++channel) {
    measured.push_back(Spawn(executor_, MeasureChannel(channel)));
  }
  for (auto& each : measured) {
    (void)co_await each;
  }
  if (phase_ != Phase::kPlanning) {
    co_return arrow::Status::OK();
  }
  auto agree = rank_ == 0 ? Decide() : Agree();
  auto plan = co_await agree;
  if (phase_ != Phase::kPlanning) {
    co_return arrow::Status::OK();
  }
  if (plan.ok()) {
    Begin(*std::move(plan));
  } else {
    Fail(plan.status());
  }
  co_return arrow::Status::OK();
}

int ChoiceCore::FirstTo(Rank peer) const {
  for (int channel = 0; channel < channels(); ++channel) {
    if (own_.latency_s[static_cast<size_t>(channel)][static_cast<size_t>(peer)] >= 0) {
      return channel;
    }
  }
  return -1;
}

Co<Plan> ChoiceCore::Agree() {
  const int channel = FirstTo(0);
  if (channel < 0) {
    co_return DeadlineError(
        "rank 0, which chooses the channels, answered on none of them within the time that connecting may take "
        "(CYLON_CONNECT_DEADLINE); look at what it says",
        0);
  }
  (void)SendProbe(channel, 0, kReport, 0, {arrow::Buffer::FromString(EncodeMeasurement(own_))});
  (void)co_await Either(arrow::Future<>(told_), planned_by_);
  if (!told_.is_finished()) {
    co_return DeadlineError("rank 0 has not told which channels were chosen; look at what it says", 0);
  }
  co_return told_.result();
}

Co<Plan> ChoiceCore::Decide() {
  std::vector<Measurement> all{own_};
  for (Rank peer = 1; peer < size_; ++peer) {
    const auto report = reports_.at(peer);
    (void)co_await Either(arrow::Future<>(report), planned_by_);
    if (phase_ != Phase::kPlanning) {
      co_return Closed();
    }
    if (!report.is_finished()) {
      co_return DeadlineError(
          "rank " + std::to_string(peer) + " has not told what it measured of the channels; look at what it says",
          peer);
    }
    CYLON_CO_ASSIGN_OR_RETURN(auto measurement, report.result());
    all.push_back(std::move(measurement));
  }
  auto plan = MakePlan({settings_.policy, settings_.rank_per_second, ways_}, all);
  decided_ = true;
  std::vector<arrow::Future<>> told;
  for (Rank peer = 1; peer < size_; ++peer) {
    const int channel = FirstTo(peer);
    if (channel < 0) {
      continue;  // then MakePlan has found so too
    }
    // Why there is none is told in its place.
    const std::string word = plan.ok() ? "+" + EncodePlan(*plan) : "-" + EncodeStatus(plan.status());
    told.push_back(SendProbe(channel, peer, kPlan, 0, {arrow::Buffer::FromString(word)}));
  }
  // Not to close, or to go on, before it is out.
  (void)co_await Either(arrow::AllFinished(told), planned_by_);
  if (phase_ != Phase::kPlanning) {
    co_return Closed();
  }
  co_return plan;
}

arrow::Result<Buffers> ChoiceCore::AllocateProbe(Rank from, const Sizes& sizes) const {
  if (sizes.size() > 1 || (sizes.size() == 1 && (sizes[0] < 0 || sizes[0] > kMostProbeBytes))) {
    return ProtocolError("rank " + std::to_string(from) + " sent a probe of its channels that is none", from);
  }
  Buffers buffers;
  for (const int64_t size : sizes) {
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
    buffers.push_back(std::move(buffer));
  }
  return buffers;
}

void ChoiceCore::OnProbe(int channel, Rank from, const Message& message) {
  ProbeHeader header;
  if (!message.header.As(&header) || phase_ == Phase::kClosed) {
    return;
  }
  switch (header.type) {
    case kPing:
      (void)SendProbe(channel, from, kPong, header.number, {});
      break;
    case kPong:
      Answer({channel, from, header.number}, arrow::Status::OK());
      break;
    case kReport:
      if (const auto report = reports_.find(from); report != reports_.end() && !report->second.is_finished()) {
        auto keep = report->second;
        keep.MarkFinished(DecodeMeasurement(TextOf(message), channels(), size_));
      }
      break;
    case kPlan:
      if (from == 0 && !told_.is_finished()) {
        auto word = TextOf(message);
        if (word.starts_with('-')) {
          arrow::Status why;
          const auto read = DecodeStatus(word.substr(1), &why);
          told_.MarkFinished(read.ok() ? RemoteError(0, why) : read);
        } else {
          told_.MarkFinished(
              DecodePlan(word.substr(std::min<size_t>(1, word.size())), static_cast<int>(ways_.size()), size_));
        }
      }
      break;
    default:
      break;
  }
}

}  // namespace cylon::internal
