// A rendezvous server whose clients, proven ones, say anything, in sessions and in relays: it answers or hangs up, and
// lets go of them all.
#include <algorithm>
#include <array>

#include "cylon/bootstrap/rendezvous_relay.h"
#include "cylon/bootstrap/rendezvous_sessions.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

constexpr size_t kCallers = 4;
constexpr int kMostSteps = 400;

/// Reads what a session is told, all of which has to be readable.
class Heard {
 public:
  void Take(std::string_view bytes) {
    bytes_.append(bytes);
    while (bytes_.size() >= 4) {
      const size_t length = Input(bytes_).Number(4);
      Require(length <= kMaxRendezvousFrame, "a rendezvous server says more than a client takes");
      if (bytes_.size() < 4 + length) {
        return;
      }
      Check(std::string_view(bytes_).substr(4, length));
      bytes_.erase(0, 4 + length);
    }
  }
  /// The last token that was drawn.
  const std::string& token() const { return token_; }

 private:
  void Check(std::string_view bytes) {
    const auto frame = DecodeRendezvousFrame(bytes, "the server");
    Require(frame.ok(), "a rendezvous server says what cannot be read");
    Require(!ended_, "a rendezvous server says more after the end of a session");
    const bool first = !std::exchange(begun_, true);
    ended_ = frame->op == RendezvousOp::kGone;
    Require(ended_ || first == (frame->op == RendezvousOp::kWelcome), "a session begins otherwise than by its welcome");
    if (frame->op == RendezvousOp::kDrawn) {
      token_ = frame->nonce;
    }
  }
  std::string bytes_;
  std::string token_;
  bool begun_ = false;
  bool ended_ = false;
};

struct Caller {
  MemoryStream* stream = nullptr;
  std::shared_ptr<bool> open = std::make_shared<bool>(false);
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
};

std::string FuzzName(uint8_t which) { return std::string(kCourierNameBytes, static_cast<char>('a' + which % 4)); }
std::string FuzzNonce(uint8_t which) { return std::string(kRendezvousNonceBytes, static_cast<char>('0' + which % 3)); }

std::string FramedBytes(std::string_view bytes) { return Output().Number(bytes.size(), 4).Raw(bytes).bytes(); }

// The input: steps; each names a caller and says what it does: it connects for a session or for a relay, sends a frame,
// bytes, or something well formed, shows a token, ends, or waits.
void RunRendezvous(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  const auto counters = std::make_shared<RendezvousCounters>();
  RendezvousLimits limits;
  limits.sessions = 3;
  limits.letters_at_once = 8;
  limits.unread = 64 << 10;
  const auto sessions = std::make_shared<RendezvousSessions>(tasks, std::string(kRendezvousNonceBytes, 'l'),
                                                             std::vector<uint16_t>{4712}, counters, limits);
  RelayLimits relay_limits;
  relay_limits.pairs = 2;
  relay_limits.waiting = 2;
  relay_limits.job_burst = 100;
  relay_limits.job_rate = 1000;
  relay_limits.job_bytes = 5000;
  const auto relay = std::make_shared<RendezvousRelay>(tasks, counters, relay_limits);
  std::array<Caller, kCallers> callers;
  std::vector<arrow::Future<>> served;
  for (int steps = 0; !in.empty() && steps < kMostSteps; ++steps) {
    const uint8_t what = in.Byte();
    auto& caller = callers[what % kCallers];
    const uint8_t kind = what / kCallers % 8;
    if (kind <= 1 || !*caller.open) {
      if (served.size() >= 50) {
        break;
      }
      const bool relays = kind == 1;
      caller.heard = std::make_shared<Heard>();
      auto stream = std::make_unique<MemoryStream>([heard = caller.heard, relays](std::string_view said) {
        if (!relays) {
          heard->Take(said);
        }
      });
      caller.stream = stream.get();
      caller.open = std::make_shared<bool>(true);
      stream->OnClose([open = caller.open] { *open = false; });
      auto done = arrow::Future<>::Make();
      served.push_back(done);
      tasks.Do([&] {
        internal::DriveVoid(relays ? RendezvousRelay::Serve(relay, std::move(stream), Guest{"job"})
                                   : RendezvousSessions::Serve(sessions, std::move(stream), Guest{"job"}),
                            done);
      });
      // Most begin as they should.
      const uint8_t name = in.Byte();
      RendezvousFrame first{relays ? RendezvousOp::kAskRelay : RendezvousOp::kHello, 0, FuzzName(name),
                            FuzzName(name / 4), FuzzNonce(name / 16)};
      first.patience_ms = 1000;
      if (name < 250) {
        tasks.Do([&] { caller.stream->Feed(FramedBytes(EncodeRendezvousFrame(first))); });
      }
    } else if (kind <= 3) {
      const std::string_view text = in.Text();
      tasks.Do([&] { caller.stream->Feed(FramedBytes(text)); });
    } else if (kind == 4) {
      const std::string_view text = in.Text();
      tasks.Do([&] { caller.stream->Feed(text); });
    } else if (kind == 5) {
      const uint8_t looker = in.Byte();
      const HostPort from{"203.0.113.7", static_cast<uint16_t>(in.Number(2))};
      tasks.Do([&] {
        const bool good = sessions->Probed(looker, caller.heard->token(), from);
        Require(!good || looker < 2, "a probe was taken at a port that is not there");
        Require(!good || !sessions->Probed(looker, caller.heard->token(), from), "a token was good twice");
      });
    } else if (kind == 6) {
      tasks.Do([&] { caller.stream->End(); });
    } else {
      tasks.RunFor(in.Byte() * std::chrono::milliseconds(200));
    }
    tasks.RunFor(Duration::zero());
  }
  tasks.Do([&] {
    sessions->Close();
    relay->Close();
  });
  tasks.RunAll();
  for (const auto& each : served) {
    Require(each.is_finished(), "a session or a relay does not end with its server");
  }
  Require(sessions->connections() == 0 && counters->sessions == 0,
          "a rendezvous server keeps a session that has ended");
  Require(relay->pairs() == 0 && relay->waiting() == 0 && counters->relays == 0 && counters->relays_waiting == 0,
          "a rendezvous server keeps a relay that has ended");
  Require(counters->relayed_bytes <= relay_limits.job_bytes, "a job relays more than it may");
  tasks.Clear();
}

std::vector<std::string> RendezvousSeeds() {
  constexpr auto kSession = uint8_t{0};
  constexpr auto kRelay = static_cast<uint8_t>(kCallers);
  constexpr auto kFrame = static_cast<uint8_t>(2 * kCallers);
  constexpr auto kRaw = static_cast<uint8_t>(4 * kCallers);
  constexpr auto kShow = static_cast<uint8_t>(5 * kCallers);
  constexpr auto kEnd = static_cast<uint8_t>(6 * kCallers);
  constexpr auto kNap = static_cast<uint8_t>(7 * kCallers);
  RendezvousFrame tell{RendezvousOp::kTell, 1, FuzzName(1)};
  tell.text = "hello";
  Output letters;
  letters.Byte(kSession).Byte(0).Byte(kSession + 1).Byte(1);
  letters.Byte(kFrame).Text(EncodeRendezvousFrame({RendezvousOp::kDraw, 1}));
  letters.Byte(kShow).Byte(0).Number(1000, 2).Byte(kShow).Byte(1).Number(1001, 2).Byte(kShow).Byte(2).Number(1, 2);
  for (uint64_t id = 1; id < 20; ++id) {
    tell.id = id;
    letters.Byte(kFrame).Text(EncodeRendezvousFrame(tell));
  }
  letters.Byte(kNap).Byte(10).Byte(kFrame).Text(EncodeRendezvousFrame({RendezvousOp::kPing}));
  tell.name = FuzzName(2);
  letters.Byte(kFrame).Text(EncodeRendezvousFrame(tell)).Byte(kEnd + 1).Byte(kNap).Byte(200);
  Output names;  // the same process again, another of its name, too many, and one without any
  names.Byte(kSession).Byte(0).Byte(kFrame).Text(EncodeRendezvousFrame({RendezvousOp::kDraw, 1}));
  names.Byte(kSession + 1).Byte(0).Byte(kShow).Byte(0).Number(7, 2);
  names.Byte(kSession + 2).Byte(16).Byte(kSession + 3).Byte(1).Byte(kSession + 2).Byte(2).Byte(kSession).Byte(3);
  names.Byte(kSession).Byte(250).Byte(kNap).Byte(200);
  Output pair;  // a to b and b to a
  pair.Byte(kRelay).Byte(4).Byte(kRelay + 1).Byte(1);
  for (int i = 0; i < 10; ++i) {
    pair.Byte(kRaw).Text(std::string(300, 'x')).Byte(kRaw + 1).Text(std::string(10, 'y')).Byte(kNap).Byte(1);
  }
  pair.Byte(kEnd).Byte(kNap).Byte(50);
  Output alone;  // at its deadline, too early, again, to itself, and too many
  alone.Byte(kRelay).Byte(4).Byte(kNap).Byte(10).Byte(kRelay).Byte(4).Byte(kRaw).Text("early");
  alone.Byte(kRelay).Byte(4).Byte(kRelay + 1).Byte(4).Byte(kRelay + 2).Byte(0);
  alone.Byte(kRelay + 2).Byte(8).Byte(kRelay + 3).Byte(20).Byte(kRelay + 3).Byte(255);
  Output raw;
  raw.Byte(kSession).Byte(255).Byte(kRaw).Text(Output().Number(UINT32_MAX, 4).bytes());
  raw.Byte(kSession).Byte(255).Byte(kRaw).Text("GET / HTTP/1.1\r\n");
  raw.Byte(kSession).Byte(1).Byte(kFrame).Text(EncodeRendezvousFrame({RendezvousOp::kWelcome}));
  return {letters.bytes(), names.bytes(), pair.bytes(), alone.bytes(), raw.bytes()};
}

const Registration kRendezvous({"rendezvous", RunRendezvous, RendezvousSeeds});

}  // namespace
}  // namespace cylon::fuzz
