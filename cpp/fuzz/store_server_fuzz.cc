// A store's server whose clients, proven ones, say anything: it answers or hangs up, and lets go of them all.
#include <algorithm>
#include <array>

#include "cylon/bootstrap/store_sessions.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

constexpr size_t kClients = 4;
constexpr size_t kPlaces = 2;

/// Reads what the server writes, as far as that has to be readable.
class Answers {
 public:
  void Take(std::string_view bytes) {
    bytes_.append(bytes);
    while (bytes_.size() >= 4) {
      const size_t length = Input(bytes_).Number(4);
      Require(length <= kMaxStoreFrame, "a store answers with more than a client takes");
      if (bytes_.size() < 4 + length) {
        return;
      }
      Check(std::string_view(bytes_).substr(4, length));
      bytes_.erase(0, 4 + length);
    }
  }

 private:
  void Check(std::string_view frame) {
    if (!std::exchange(greeted_, true)) {
      Require(frame.size() >= kStoreNonceBytes, "a store greets with less than its life");
      return frame.size() == kStoreNonceBytes ? void() : CheckRefusal(frame.substr(kStoreNonceBytes));
    }
    Require(frame.size() >= 9 && static_cast<uint8_t>(frame[8]) <= 1, "an answer that says neither yes nor no");
    if (frame[8] == 0) {
      CheckRefusal(frame.substr(9));
    }
  }
  static void CheckRefusal(std::string_view bytes) {
    arrow::Status why;
    Require(DecodeStatus(bytes, &why).ok() && !why.ok(), "a refusal that is none");
  }
  std::string bytes_;
  bool greeted_ = false;
};

// The input: steps; each names a client and says what it does: connects, sends bytes or a frame, ends, or waits.
void RunStoreServer(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  auto sessions = std::make_shared<StoreSessions>(tasks, std::string(kStoreNonceBytes, 'l'));
  struct Client {
    MemoryStream* stream = nullptr;
    std::shared_ptr<bool> open = std::make_shared<bool>(false);
  };
  std::array<Client, kClients> clients;
  std::vector<arrow::Future<>> served;
  for (int steps = 0; !in.empty() && steps < 400; ++steps) {
    const uint8_t what = in.Byte();
    auto& client = clients[what % kClients];
    const uint8_t kind = what / kClients % 8;
    if (kind == 0 || !*client.open) {
      if (served.size() >= 50) {
        break;
      }
      auto answers = std::make_shared<Answers>();
      auto stream = std::make_unique<MemoryStream>([answers](std::string_view said) { answers->Take(said); });
      client.stream = stream.get();
      client.open = std::make_shared<bool>(true);
      stream->OnClose([open = client.open] { *open = false; });
      auto done = arrow::Future<>::Make();
      served.push_back(done);
      tasks.Do([&] { internal::DriveVoid(StoreSessions::Serve(sessions, std::move(stream), kPlaces), done); });
      // A client that is known, one of its own, or none.
      const uint8_t name = in.Byte();
      const std::string greeting(kStoreNonceBytes, static_cast<char>('a' + name % 3));
      const size_t length = name < 250 ? greeting.size() : name - 250U;
      tasks.Do([&] {
        client.stream->Feed(Output().Number(length, 4).Raw(std::string_view(greeting).substr(0, length)).bytes());
      });
    } else if (kind < 5) {
      const std::string_view text = in.Text();
      tasks.Do([&] { client.stream->Feed(Output().Number(text.size(), 4).Raw(text).bytes()); });
    } else if (kind == 5) {
      const std::string_view text = in.Text();
      tasks.Do([&] { client.stream->Feed(text); });
    } else if (kind == 6) {
      tasks.Do([&] { client.stream->End(); });
    } else {
      tasks.RunFor(in.Byte() * std::chrono::seconds(1));
    }
    tasks.RunFor(Duration::zero());
  }
  tasks.Do([&] { sessions->Close(); });
  tasks.RunAll();
  for (const auto& each : served) {
    Require(each.is_finished(), "a session does not end with the store");
  }
  Require(sessions->connections() == 0, "a store keeps a connection that has ended");
  sessions.reset();
  tasks.Clear();
}

std::string Request(uint64_t id, uint64_t answered, StoreOp op, std::string_view key, uint64_t live_ms,
                    std::string_view value) {
  return Output()
      .Number(id, 8)
      .Number(answered, 8)
      .Byte(static_cast<uint8_t>(op))
      .Number(key.size(), 4)
      .Raw(key)
      .Number(live_ms, 8)
      .Raw(value)
      .bytes();
}

std::vector<std::string> StoreServerSeeds() {
  const std::string one = Output().Number(1, 8).bytes();
  constexpr auto kConnect = uint8_t{0};
  constexpr auto kFrame = static_cast<uint8_t>(kClients);
  constexpr auto kRaw = static_cast<uint8_t>(5 * kClients);
  constexpr auto kEnd = static_cast<uint8_t>(6 * kClients);
  constexpr auto kNap = static_cast<uint8_t>(7 * kClients);
  Output all;
  all.Byte(kConnect).Byte(0).Byte(kConnect + 1).Byte(1);
  all.Byte(kFrame + 1).Text(Request(1, 0, StoreOp::kGet, "job/key", 0, ""));
  uint64_t id = 0;
  for (const auto op : {StoreOp::kSet, StoreOp::kSetIfAbsent, StoreOp::kGet, StoreOp::kTryGet, StoreOp::kDelete}) {
    ++id;
    all.Byte(kFrame).Text(Request(id, id / 2, op, "job/key", 60000, "value"));
  }
  for (const auto op : {StoreOp::kAdd, StoreOp::kRaise}) {
    all.Byte(kFrame).Text(Request(++id, 0, op, "job/count", 60000, one));
  }
  Output again;  // the same client over another connection, its write sent again
  again.Byte(kConnect).Byte(0).Byte(kFrame).Text(Request(1, 0, StoreOp::kAdd, "count", 1000, one));
  again.Byte(kConnect + 1).Byte(0).Byte(kFrame + 1).Text(Request(1, 0, StoreOp::kAdd, "count", 1000, one));
  again.Byte(kNap).Byte(2).Byte(kFrame + 1).Text(Request(2, 1, StoreOp::kTryGet, "count", 0, ""));
  again.Byte(kEnd + 1).Byte(kNap + 1).Byte(0).Byte(70);
  Output waits;
  waits.Byte(kConnect).Byte(0).Byte(kFrame).Text(Request(7, 0, StoreOp::kGet, "later", 0, ""));
  waits.Byte(kFrame).Text(Request(8, 0, StoreOp::kCancel, "", 0, Output().Number(7, 8).bytes()));
  waits.Byte(kFrame).Text(Request(9, 0, StoreOp::kGet, "later", 0, ""));
  waits.Byte(kFrame).Text(Request(9, 0, StoreOp::kGet, "later", 0, ""));
  waits.Byte(kConnect + 2).Byte(253);
  Output raw;
  raw.Byte(kConnect).Byte(2).Byte(kRaw).Text(Output().Number(UINT32_MAX, 4).bytes());
  raw.Byte(kConnect).Byte(2).Byte(kRaw).Text("GET / HTTP/1.1\r\n");
  raw.Byte(kConnect).Byte(1).Byte(kFrame).Text(Request(1, 0, StoreOp{99}, "k", UINT64_MAX, ""));
  return {all.bytes(), again.bytes(), waits.bytes(), raw.bytes()};
}

const Registration kStoreServer({"store_server", RunStoreServer, StoreServerSeeds});

}  // namespace
}  // namespace cylon::fuzz
