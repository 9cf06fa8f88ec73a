// A connection to something that may be no Redis server: every question ends, with as many replies as it has commands.
#include "cylon/bootstrap/redis_link.h"

#include <algorithm>

#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

// The input: runs of bytes from the server, questions in between (1 to 3 commands each).
void RunRedisLink(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  auto owned = std::make_unique<MemoryStream>();
  // The link closes and may drop its stream at any time, so it is not touched after that.
  MemoryStream* stream = owned.get();
  bool open = true;
  stream->OnClose([&open] { open = false; });
  std::vector<std::pair<std::shared_ptr<RedisExchange>, size_t>> asked;
  std::shared_ptr<RedisLink> link;
  tasks.Do([&] { link = RedisLink::Start(tasks, std::move(owned), "redis://server", std::chrono::seconds(10)); });
  while (!in.empty()) {
    const uint8_t action = in.Byte();
    tasks.Do([&] {
      if (action < 64) {
        const size_t commands = 1 + action % 3;
        asked.emplace_back(link->Ask(std::vector<RedisCommand>(commands, {"GET", "key"})), commands);
      } else if (open) {
        stream->Feed(in.Text());
      }
    });
  }
  tasks.Do([&] {
    if (open) {
      stream->End();
    }
  });
  tasks.RunAll();
  tasks.Do([&] { link->Fail(arrow::Status::Cancelled("closed")); });
  tasks.RunAll();
  for (const auto& [exchange, commands] : asked) {
    Require(exchange->done.is_finished(), "a question does not end with its connection");
    const auto& replies = exchange->done.result();
    Require(!replies.ok() || replies->size() == commands, "a question has another number of replies than commands");
  }
  link.reset();
  tasks.Clear();
}

std::vector<std::string> RedisLinkSeeds() {
  return {Output().Byte(0).Byte(1).Byte(64).Text("+OK\r\n$2\r\nhi\r\n:3\r\n").bytes(),
          Output().Byte(2).Byte(64).Text("$-1\r\n-ERR no\r\n*2\r\n:1\r\n:2\r\n+more\r\n").bytes(),
          Output().Byte(0).Byte(64).Text("$1000\r\nnot all of it").bytes(),
          Output().Byte(0).Byte(64).Text("+half").Byte(64).Text(" a line\r\n").Byte(0).bytes(),
          Output().Byte(0).Byte(64).Text("HTTP/1.1 400 Bad Request\r\n").bytes()};
}

const Registration kRedisLink({"redis_link", RunRedisLink, RedisLinkSeeds});

}  // namespace
}  // namespace cylon::fuzz
