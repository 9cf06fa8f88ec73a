/// For tests: three Redis servers that share the keys out among themselves.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cylon/bootstrap/testing/redis_server.h"

namespace cylon::testing {

/// What redis-cli --cluster create would do, without its waits. What goes wrong is thrown.
class RedisCluster {
 public:
  static constexpr size_t kServers = 3;
  static constexpr int kSlots = 16384;

  explicit RedisCluster(const std::vector<std::string>& config = {}) {
    std::vector<std::string> lines = {"cluster-enabled yes", "cluster-config-file nodes.conf"};
    lines.insert(lines.end(), config.begin(), config.end());
    for (auto& server : servers_) {
      server = std::make_unique<RedisServer>(lines);
    }
    for (size_t i = 0; i < kServers; ++i) {
      Do(i, {"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)});
      Do(i, {"CLUSTER", "ADDSLOTSRANGE", std::to_string(First(i)), std::to_string(First(i + 1) - 1)});
      if (i > 0) {
        Do(0, {"CLUSTER", "MEET", "127.0.0.1", std::to_string(server(i).address().port)});
      }
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (size_t i = 0; i < kServers;) {
      const std::string info = server(i).Run({"CLUSTER", "INFO"}).text;
      if (info.find("cluster_state:ok") != std::string::npos &&
          info.find("cluster_known_nodes:3") != std::string::npos) {
        ++i;
      } else if (std::chrono::steady_clock::now() > deadline) {
        throw std::runtime_error("the servers do not become a cluster: " + info);
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
  }

  RedisServer& server(size_t index) { return *servers_[index]; }
  int SlotOf(const std::string& key) { return static_cast<int>(server(0).Run({"CLUSTER", "KEYSLOT", key}).number); }
  /// Which server a slot was given to at first.
  static size_t OwnerOf(int slot) {
    size_t owner = 0;
    while (First(owner + 1) <= slot) {
      ++owner;
    }
    return owner;
  }

  /// From now on, `from` sends those who ask for a key of `slot` that it has not got to `to`.
  void BeginMove(int slot, size_t from, size_t to) {
    Do(to, {"CLUSTER", "SETSLOT", std::to_string(slot), "IMPORTING", Id(from)});
    Do(from, {"CLUSTER", "SETSLOT", std::to_string(slot), "MIGRATING", Id(to)});
  }
  /// Carries over the keys that are still there, and says that all are.
  void FinishMove(int slot, size_t from, size_t to) {
    while (true) {
      const auto keys = server(from).Run({"CLUSTER", "GETKEYSINSLOT", std::to_string(slot), "100"});
      if (keys.elements.empty()) {
        break;
      }
      std::vector<std::string> migrate = {"MIGRATE", "127.0.0.1", std::to_string(server(to).address().port), "", "0",
                                          "5000",    "KEYS"};
      for (const auto& key : keys.elements) {
        migrate.push_back(key.text);
      }
      server(from).Run(migrate);  // one may have gone by itself meanwhile: then once more
    }
    for (const size_t i : {to, from}) {
      Do(i, {"CLUSTER", "SETSLOT", std::to_string(slot), "NODE", Id(to)});
    }
  }

 private:
  static int First(size_t index) { return static_cast<int>(index) * kSlots / static_cast<int>(kServers); }
  std::string Id(size_t index) { return server(index).Run({"CLUSTER", "MYID"}).text; }
  void Do(size_t index, const std::vector<std::string>& words) {
    const auto reply = server(index).Run(words);
    if (reply.kind == RespValue::Kind::kError) {
      throw std::runtime_error(words[1] + ": " + reply.text);
    }
  }

  std::array<std::unique_ptr<RedisServer>, kServers> servers_;
};

}  // namespace cylon::testing
