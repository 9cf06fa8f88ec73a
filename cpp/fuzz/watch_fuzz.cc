// A watch whose peers' watches say anything that can be read, at any time, over links that come and go.
#include "cylon/comm/watch/watch.h"

#include <algorithm>
#include <set>
#include <utility>

#include "fuzz/fuzz_target.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

using namespace std::chrono_literals;
using namespace cylon::internal;

constexpr Rank kOwn = 1;
constexpr int kRanks = 5;
constexpr Duration kTimeout = 3s;

/// Links as the input has them; what the watch sends has to be readable.
class FuzzWire : public WatchWire {
 public:
  void Start(WatchWireSink* told) override { sink = told; }
  void Dial(Rank peer, Duration patience) override {
    Require(Valid(peer) && patience > Duration::zero(), "a watch dials a rank that is none, or without patience");
    dialled.insert(peer);
  }
  void Send(Rank to, const WatchMessage& message) override {
    Require(Valid(to), "a watch talks to a rank that is none");
    const std::string bytes = Encode(message);
    Require(bytes.size() >= kWatchHeaderBytes, "a message without a header");
    const auto read = DecodeWatchBody(message.type, std::string_view(bytes).substr(kWatchHeaderBytes));
    Require(read.ok(), "a watch sends what none can read: " + read.status().ToString());
  }
  bool Linked(Rank peer) const override { return linked.contains(peer); }
  void Close() override { sink = nullptr; }

  static bool Valid(Rank rank) { return rank >= 0 && rank < kRanks && rank != kOwn; }
  WatchWireSink* sink = nullptr;
  std::set<Rank> linked;
  std::set<Rank> dialled;
};

class Owner : public WatchOwner {
 public:
  void OnFinding(const Finding& finding) override {
    Require(finding.rank >= 0 && finding.rank < kRanks, "a finding about a rank that is none");
    Require(finding.kind == ErrorKind::kIsolated || finding.rank != kOwn || finding.other != -1,
            "a watch accuses its own rank");
    ++findings;
  }
  void OnFlood(Rank from, const std::string& text) override {
    Require(FuzzWire::Valid(from), "a flood from a rank that is none");
    std::ignore = DecodeFinding(text);
  }
  void OnBeat() override {}
  void ShowLife() override {}
  void LookForLife(Rank about) override { Require(FuzzWire::Valid(about), "a look for a rank that is none"); }
  int findings = 0;
};

// The input: steps, each of which has a kind, a rank, a time that passes, and what its kind takes.
enum class Step : uint8_t { kMessage, kLink, kLinkEnd, kDialFailed, kStore, kInvestigate, kLeft, kInquire, kSettled };
constexpr uint8_t kSteps = 9;

void RunWatch(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  tasks.RunFor(1h);  // no time before the clock began
  auto wire = std::make_shared<FuzzWire>();
  auto owner = std::make_shared<Owner>();
  Watch watch(nullptr, tasks, wire);
  Judge::Setup setup;
  setup.own = kOwn;
  setup.size = kRanks;
  setup.timeout = kTimeout;
  setup.start_grace = kTimeout;
  const uint8_t where = in.Byte();
  for (Rank rank = 0; rank < kRanks; ++rank) {
    if ((where >> rank & 1) != 0) {
      setup.here.insert(rank);
    }
  }
  setup.has_store = (where & 0x80) != 0;
  Report report;
  report.operation = "Barrier()";
  tasks.Do([&] { watch.Start(setup, [report] { return report; }, owner, tasks); });
  tasks.RunFor(Duration::zero());
  int inquiries = 0;
  int answered = 0;
  for (int steps = 0; !in.empty() && steps < 200; ++steps) {
    const auto kind = static_cast<Step>(in.Byte() % kSteps);
    const Rank rank = in.Byte() % kRanks;
    const Duration passes = in.Byte() * 20ms;
    tasks.RunFor(passes);
    if (rank == kOwn) {
      continue;
    }
    tasks.Do([&] {
      switch (kind) {
        case Step::kMessage: {
          const std::string_view text = in.Text();
          if (text.size() < kWatchHeaderBytes || !wire->linked.contains(rank)) {
            return;
          }
          std::array<uint8_t, kWatchHeaderBytes> head{};
          std::copy_n(text.begin(), head.size(), head.begin());
          const auto header = DecodeWatchHeader(head);
          if (!header.ok()) {
            return;
          }
          Require(header->length <= kMaxWatchBody, "a long body was announced, and taken");
          const auto message = DecodeWatchBody(header->type, text.substr(kWatchHeaderBytes));
          if (message.ok()) {
            wire->sink->OnMessage(rank, *message);
          }
          return;
        }
        case Step::kLink:
          wire->linked.insert(rank);
          wire->dialled.erase(rank);
          return wire->sink->OnLink(rank);
        case Step::kLinkEnd:
          return wire->linked.erase(rank) == 1 ? wire->sink->OnLinkEnd(rank) : void();
        case Step::kDialFailed: {
          const auto how = static_cast<DialEnd>(in.Byte() % 4);
          return wire->dialled.erase(rank) == 1 ? wire->sink->OnDialFailed(rank, how) : void();
        }
        case Step::kStore: {
          const uint8_t answers = in.Byte();
          return watch.OnStore(rank, answers % 2 == 1, std::string(in.Bytes(answers % 4)));
        }
        case Step::kInvestigate:
          return watch.Investigate(rank, "a link broke");
        case Step::kLeft:
          return watch.OnLeft(rank);
        case Step::kSettled:
          return watch.OnSettled(rank);
        case Step::kInquire:
          ++inquiries;
          return watch.Inquire({0, kOwn, 2, 3, 4}, 1s, [&answered](const std::map<Rank, Sighting>& seen) {
            ++answered;
            for (const auto& [who, sighting] : seen) {
              Require(FuzzWire::Valid(who) && sighting.age >= Duration::zero(), "a sighting of nobody");
            }
          });
      }
    });
  }
  tasks.RunFor(3 * kTimeout);
  Require(inquiries == answered, "an inquiry has no end");
  tasks.Do([&] {
    watch.Leave();
    watch.Stop();
  });
  tasks.RunFor(1s);
  tasks.Clear();
}

std::string Message(const WatchMessage& message) { return Encode(message); }

Output& Put(Output& out, Step step, Rank rank, uint8_t passes) {
  return out.Byte(static_cast<uint8_t>(step)).Byte(static_cast<uint8_t>(rank)).Byte(passes);
}

std::vector<std::string> WatchSeeds() {
  WatchMessage beat;
  beat.counter = 1;
  beat.report.operation = "Barrier()";
  beat.report.since = 3s;
  WatchMessage question;
  question.type = WatchMessage::Type::kQuestion;
  question.about = 2;
  question.stamp = TimePoint(1h + 2s);
  WatchMessage answer = question;
  answer.type = WatchMessage::Type::kAnswer;
  answer.testimony = Testimony::kSilent;
  answer.age = 2500ms;
  answer.has_report = true;
  answer.report = beat.report;
  WatchMessage flood;
  flood.type = WatchMessage::Type::kFlood;
  flood.text = Encode(Finding{Finding::Source::kSilence, ErrorKind::kRankFailed, 2, "silent", -1});
  WatchMessage goodbye;
  goodbye.type = WatchMessage::Type::kGoodbye;

  Output talk;
  talk.Byte(0x80);
  for (const Rank rank : {0, 2}) {
    Put(talk, Step::kLink, rank, 1);
  }
  for (const auto& message : {beat, question, answer, flood, goodbye}) {
    Put(talk, Step::kMessage, 0, 5).Text(Message(message));
  }
  Output silence;
  silence.Byte(0x9f);
  for (const Rank rank : {0, 2, 3}) {
    Put(silence, Step::kLink, rank, 0);
  }
  for (int i = 0; i < 12; ++i) {
    Put(silence, Step::kMessage, 0, 10).Text(Message(beat));
    Put(silence, Step::kMessage, 3, 0).Text(Message(answer));
  }
  Put(silence, Step::kStore, 2, 20).Byte(1);
  Put(silence, Step::kInquire, 0, 50);
  Output ends;
  ends.Byte(0x04);
  Put(ends, Step::kLink, 2, 0);
  Put(ends, Step::kMessage, 2, 3).Text(Message(beat));
  Put(ends, Step::kLinkEnd, 2, 10);
  Put(ends, Step::kDialFailed, 2, 1).Byte(0);
  Put(ends, Step::kInvestigate, 3, 1);
  Put(ends, Step::kDialFailed, 3, 1).Byte(3);
  Put(ends, Step::kSettled, 2, 1);
  Put(ends, Step::kLeft, 0, 1);
  return {talk.bytes(), silence.bytes(), ends.bytes()};
}

const Registration kWatch({"watch", RunWatch, WatchSeeds});

}  // namespace
}  // namespace cylon::fuzz
