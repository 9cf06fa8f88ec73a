// A client of a store whose server says anything, over one connection after another: every question ends.
#include "cylon/bootstrap/store_client.h"

#include <algorithm>

#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

/// What the server says on each connection; afterwards it closes.
struct Server {
  std::vector<std::string> words;
  size_t connections = 0;
};

Co<std::unique_ptr<Stream>> Connect(Server* server, TaskQueue* tasks) {
  if (server->connections >= server->words.size()) {
    co_return arrow::Status::IOError("nobody listens");
  }
  const std::string& words = server->words[server->connections++];
  auto stream = std::make_unique<MemoryStream>();
  MemoryStream* raw = stream.get();
  // Not before the client reads, and not where it has let go of the stream meanwhile.
  auto open = std::make_shared<bool>(true);
  raw->OnClose([open] { *open = false; });
  for (const bool last : {false, true}) {
    tasks->Post([raw, open, last, &words] {
      if (*open) {
        last ? raw->End() : raw->Feed(words);
      }
    });
  }
  co_return stream;
}

void RunStoreClient(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  Server server;
  const uint8_t asked = in.Byte();
  while (!in.empty() && server.words.size() < 6) {
    server.words.emplace_back(in.Text());
  }
  const auto connect = [&](TimePoint) { return Connect(&server, &tasks); };
  auto client = std::make_shared<StoreClient>(tasks, "127.0.0.1:4711", connect, std::string(kStoreNonceBytes, 'c'));
  auto opened = Spawn(tasks, StoreClient::Open(client, tasks.Now() + std::chrono::seconds(30)));
  tasks.RunAll();
  Require(opened.is_finished(), "a client waits for a server without end");
  std::vector<std::shared_ptr<Wait>> waits;
  tasks.Do([&] {
    for (const auto op : {StoreOp::kSet, StoreOp::kSetIfAbsent, StoreOp::kGet, StoreOp::kTryGet, StoreOp::kAdd,
                          StoreOp::kDelete, StoreOp::kGet}) {
      if ((asked >> waits.size() & 1) != 0) {
        waits.push_back(std::make_shared<Wait>());
        const bool adds = op == StoreOp::kAdd;
        client->Ask(op, "job/key", adds ? std::string("\1\0\0\0\0\0\0\0", 8) : "value", std::chrono::seconds(60),
                    waits.back(), tasks.Now() + std::chrono::seconds(20));
      } else {
        waits.push_back(nullptr);
      }
    }
  });
  tasks.RunAll();
  for (const auto& wait : waits) {
    Require(wait == nullptr || wait->done.is_finished(), "a question to a store does not end");
  }
  tasks.Do([&] { client->Close(); });
  tasks.RunAll();
  client.reset();
  tasks.Clear();
}

std::string Framed(std::string_view payload) { return Output().Number(payload.size(), 4).Raw(payload).bytes(); }

std::string Response(uint64_t id, uint8_t ok, std::string_view value) {
  return Framed(Output().Number(id, 8).Byte(ok).Raw(value).bytes());
}

std::vector<std::string> StoreClientSeeds() {
  const std::string life = Framed(std::string(kStoreNonceBytes, 'l'));
  const std::string another = Framed(std::string(kStoreNonceBytes, 'm'));
  std::string answers = life;
  for (uint64_t id = 1; id < 8; ++id) {
    answers += Response(id, id % 3 == 0 ? 0 : 1, id % 3 == 0 ? EncodeStatus(arrow::Status::KeyError("none")) : "value");
  }
  return {Output().Byte(0x7f).Text(answers).bytes(),
          Output().Byte(0x1f).Text(life).Text(another + Response(1, 1, "")).Text(answers).bytes(),
          Output().Byte(0x11).Text(life + Response(1, 1, "short")).Text("").Text(life).bytes(),
          Output().Byte(0x04).Text(Output().Number(UINT32_MAX, 4).bytes()).Text("GET / HTTP/1.1\r\n").bytes()};
}

const Registration kStoreClient({"store_client", RunStoreClient, StoreClientSeeds});

}  // namespace
}  // namespace cylon::fuzz
