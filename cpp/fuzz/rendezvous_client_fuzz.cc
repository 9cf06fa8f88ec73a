// A rendezvous client whose server says anything: it hears letters as they may be, or hangs up and dials again, and
// whatever was asked of it ends.
#include "cylon/bootstrap/rendezvous_client.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

std::string NameFrom(uint8_t which) { return std::string(kCourierNameBytes, static_cast<char>('a' + which % 4)); }

/// What the client has dialled last.
struct Dialled {
  MemoryStream* stream = nullptr;
  std::shared_ptr<bool> open = std::make_shared<bool>(false);
  int count = 0;
};

Co<std::unique_ptr<Stream>> DialMemory(std::shared_ptr<Dialled> dialled) {
  if (++dialled->count > 50) {
    co_return arrow::Status::IOError("the server is gone");
  }
  auto stream = std::make_unique<MemoryStream>();
  dialled->stream = stream.get();
  dialled->open = std::make_shared<bool>(true);
  stream->OnClose([open = dialled->open] { *open = false; });
  co_return std::move(stream);
}

void CheckLetter(const CourierLetter& letter) {
  Require(IsCourierName(letter.from), "a letter from somebody without a name");
  Require(letter.text.size() <= Courier::kMaxLetter, "a letter that is too long was heard");
  Require(letter.seen.addresses.size() <= kMaxSeenAddresses, "a sender with too many addresses");
}

// The input: steps; the server says a frame or bytes, or ends the connection, or the client is asked for something, or
// time passes.
void RunRendezvousClient(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  const auto dialled = std::make_shared<Dialled>();
  const auto client = std::make_shared<RendezvousClient>(
      tasks, "memory", [dialled](TimePoint) { return DialMemory(dialled); }, NameFrom(0),
      std::string(kRendezvousNonceBytes, 'i'), RendezvousPatience{.away = std::chrono::seconds(5)});
  std::vector<arrow::Future<>> asked;
  asked.push_back(arrow::Future<>::Make());
  tasks.Do(
      [&] { internal::DriveVoid(RendezvousClient::Open(client, tasks.Now() + std::chrono::seconds(60)), asked[0]); });
  std::vector<arrow::Future<RendezvousClient::ProbeToken>> drawn;
  for (int steps = 0; !in.empty() && steps < 400; ++steps) {
    const uint8_t kind = in.Byte() % 8;
    tasks.Do([&] {
      if (kind <= 2) {
        const std::string_view text = in.Text();
        if (*dialled->open) {
          dialled->stream->Feed(Output().Number(text.size(), 4).Raw(text).bytes());
        }
      } else if (kind == 3) {
        const std::string_view text = in.Text();
        if (*dialled->open) {
          dialled->stream->Feed(text);
        }
      } else if (kind == 4) {
        if (*dialled->open) {
          dialled->stream->End();
        }
      } else if (kind == 5) {
        asked.push_back(client->Tell(NameFrom(in.Byte()), std::string(in.Text())));
      } else if (kind == 6) {
        drawn.push_back(arrow::Future<RendezvousClient::ProbeToken>::Make());
        internal::Drive(RendezvousClient::DrawToken(client, tasks.Now() + std::chrono::seconds(10)), drawn.back());
        client->OnLetter(CheckLetter);
      }
    });
    tasks.RunFor(kind == 7 ? in.Byte() * std::chrono::milliseconds(200) : Duration::zero());
  }
  tasks.Do([&] { client->Close(); });
  tasks.RunAll();
  for (const auto& each : asked) {
    Require(each.is_finished(), "something that was asked of a client never ends");
  }
  for (const auto& each : drawn) {
    Require(each.is_finished(), "a token is awaited for ever");
  }
  tasks.Clear();
}

std::vector<std::string> RendezvousClientSeeds() {
  constexpr uint8_t kFrame = 0;
  constexpr uint8_t kRaw = 3;
  constexpr uint8_t kEnd = 4;
  constexpr uint8_t kTell = 5;
  constexpr uint8_t kDraw = 6;
  constexpr uint8_t kNap = 7;
  RendezvousFrame welcome{RendezvousOp::kWelcome};
  welcome.nonce = std::string(kRendezvousNonceBytes, 'l');
  welcome.ports = {4712};
  RendezvousFrame letter{RendezvousOp::kLetter, 1, NameFrom(1)};
  letter.seen = {{{"203.0.113.7", 1000}, {"203.0.113.7", 1001}}, true};
  letter.text = "hello";
  RendezvousFrame told{RendezvousOp::kTold, 1};
  RendezvousFrame refused{RendezvousOp::kTold, 2};
  refused.status = arrow::Status::KeyError("nobody");
  RendezvousFrame drawn{RendezvousOp::kDrawn, 3};
  drawn.nonce = std::string(kRendezvousNonceBytes, 't');
  RendezvousFrame gone{RendezvousOp::kGone};
  gone.status = arrow::Status::AlreadyExists("taken");
  Output all;
  all.Byte(kFrame).Text(EncodeRendezvousFrame(welcome)).Byte(kTell).Byte(1).Text("one").Byte(kTell).Byte(2).Text("two");
  all.Byte(kDraw);
  for (const auto& frame : {letter, letter, told, refused, drawn, RendezvousFrame{RendezvousOp::kPing}}) {
    all.Byte(kFrame).Text(EncodeRendezvousFrame(frame));
  }
  Output again;  // the connection is lost, and what was told is told again; then it is silent
  again.Byte(kFrame).Text(EncodeRendezvousFrame(welcome)).Byte(kTell).Byte(1).Text("one").Byte(kEnd).Byte(kNap).Byte(1);
  again.Byte(kFrame).Text(EncodeRendezvousFrame(welcome)).Byte(kFrame).Text(EncodeRendezvousFrame(told));
  again.Byte(kNap).Byte(200).Byte(kFrame).Text(EncodeRendezvousFrame(welcome));
  Output taken;
  taken.Byte(kFrame).Text(EncodeRendezvousFrame(gone));
  Output raw;
  raw.Byte(kRaw).Text(Output().Number(UINT32_MAX, 4).bytes()).Byte(kNap).Byte(2).Byte(kRaw).Text("HTTP/1.1 400\r\n");
  return {all.bytes(), again.bytes(), taken.bytes(), raw.bytes()};
}

const Registration kRendezvousClient({"rendezvous_client", RunRendezvousClient, RendezvousClientSeeds});

}  // namespace
}  // namespace cylon::fuzz
