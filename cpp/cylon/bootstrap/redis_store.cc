// A store on a Redis server, by plain commands that every version since 4 has.
#include "cylon/bootstrap/redis_store.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/failpoint.h"
#include "cylon/bootstrap/kept_values.h"
#include "cylon/bootstrap/key_values.h"
#include "cylon/bootstrap/redis_cluster.h"
#include "cylon/bootstrap/redis_errors.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/tls_stream.h"

namespace cylon {

namespace {

using RedisKind = RespValue::Kind;
using ClientPtr = std::shared_ptr<RedisClient>;

/// Between looks at a key that is not there: short at first; at 50 ms, 1000 ranks ask 20000 times a second, a fifth of
/// what one server answers.
constexpr auto kFirstLook = std::chrono::milliseconds(1);
constexpr auto kLongestLook = std::chrono::milliseconds(50);
/// How often a key may vanish, or change its mind about being a number, under one call.
constexpr int kMostRounds = 100;

std::string Milliseconds(Duration time_to_live) {
  return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(time_to_live).count());
}

RedisRequest One(RedisCommand command, std::string what) {
  RedisRequest request;
  request.commands.push_back(std::move(command));
  request.what = std::move(what);
  return request;
}

RedisRequest SetRequest(const std::string& key, const std::string& value, Duration time_to_live) {
  return One({"SET", RedisKey(key), value, "PX", Milliseconds(time_to_live)}, "setting '" + key + "'");
}
RedisRequest SetIfAbsentRequest(const std::string& key, const std::string& value, Duration time_to_live, bool and_get) {
  auto request =
      One({"SET", RedisKey(key), value, "NX", "PX", Milliseconds(time_to_live)}, "setting '" + key + "' if absent");
  if (and_get) {
    request.commands[0].emplace_back("GET");
  }
  return request;
}
RedisRequest GetRequest(const std::string& key) { return One({"GET", RedisKey(key)}, "reading '" + key + "'"); }
RedisRequest DeleteRequest(const std::string& key) { return One({"DEL", RedisKey(key)}, "deleting '" + key + "'"); }
/// Both or none: a counter that stayed without a time to live would stay for ever.
RedisRequest AddRequest(const std::string& key, int64_t amount, Duration time_to_live) {
  RedisRequest request;
  request.commands.push_back({"MULTI"});
  request.commands.push_back({"INCRBY", RedisKey(key), std::to_string(amount)});
  request.commands.push_back({"PEXPIRE", RedisKey(key), Milliseconds(time_to_live)});
  request.commands.push_back({"EXEC"});
  request.repeatable = false;
  request.what = "adding " + std::to_string(amount) + " to '" + key + "'";
  return request;
}

/// Sends `request`; its last reply, where none is an error.
Co<RespValue> Ask(ClientPtr client, RedisRequest request) {
  CYLON_CO_RETURN_NOT_OK(CYLON_FAILPOINT_STATUS("store.request"));
  const auto commands = request.commands;
  auto sending = RedisClient::Send(client, std::move(request));
  CYLON_CO_ASSIGN_OR_RETURN(RedisReplies replies, co_await sending);
  CYLON_CO_RETURN_NOT_OK(FirstRefusal(client->server(), commands, replies));
  co_return std::move(replies.back());
}

Co<void> SetNow(ClientPtr client, std::string key, std::string value, Duration time_to_live) {
  CYLON_CO_RETURN_NOT_OK(CheckKeyAndValue(key, value));
  CYLON_CO_RETURN_NOT_OK(CheckTimeToLive(key, time_to_live));
  auto asking = Ask(client, SetRequest(key, value, time_to_live));
  CYLON_CO_ASSIGN_OR_RETURN(const RespValue reply, co_await asking);
  co_return reply.kind == RedisKind::kSimple ? arrow::Status::OK() : UnexpectedReply(client->server(), "SET", reply);
}

Co<std::string> TryGetNow(ClientPtr client, std::string key) {
  CYLON_CO_RETURN_NOT_OK(CheckKeyAndValue(key));
  auto asking = Ask(client, GetRequest(key));
  CYLON_CO_ASSIGN_OR_RETURN(RespValue reply, co_await asking);
  if (reply.kind == RedisKind::kNull) {
    co_return NoSuchKey(key);
  }
  if (reply.kind != RedisKind::kBulk) {
    co_return UnexpectedReply(client->server(), "GET", reply);
  }
  CYLON_CO_RETURN_NOT_OK(CheckKeyAndValue(key, reply.text));
  co_return std::move(reply.text);
}

Co<std::string> SetIfAbsentNow(ClientPtr client, std::string key, std::string value, Duration time_to_live) {
  CYLON_CO_RETURN_NOT_OK(CheckKeyAndValue(key, value));
  CYLON_CO_RETURN_NOT_OK(CheckTimeToLive(key, time_to_live));
  bool and_get = true;
  for (int round = 0; round < kMostRounds; ++round) {
    auto request = SetIfAbsentRequest(key, value, time_to_live, and_get);
    const auto commands = request.commands;
    auto sending = RedisClient::Send(client, std::move(request));
    CYLON_CO_ASSIGN_OR_RETURN(RedisReplies replies, co_await sending);
    RespValue& reply = replies[0];
    if (and_get && reply.kind == RedisKind::kError && reply.text.find("syntax error") != std::string::npos) {
      and_get = false;  // before Redis 7
      continue;
    }
    CYLON_CO_RETURN_NOT_OK(FirstRefusal(client->server(), commands, replies));
    if (reply.kind == (and_get ? RedisKind::kNull : RedisKind::kSimple)) {
      co_return value;
    }
    if (reply.kind == RedisKind::kBulk) {
      CYLON_CO_RETURN_NOT_OK(CheckKeyAndValue(key, reply.text));
      co_return std::move(reply.text);
    }
    if (and_get || reply.kind != RedisKind::kNull) {
      co_return UnexpectedReply(client->server(), "SET", reply);
    }
    auto getting = TryGetNow(client, key);
    auto there = co_await getting;
    if (there.ok() || !there.status().IsKeyError()) {
      co_return there;
    }
  }
  co_return arrow::Status::IOError("'", key, "' in the Redis server at ", client->server(), " came and went ",
                                   kMostRounds, " times while it was set; give it a longer time to live");
}

/// Why the server did not add, in the words of all stores; OK where the counter has changed since, so that it may.
Co<void> WhyNotAdded(ClientPtr client, std::string key, int64_t amount) {
  auto getting = TryGetNow(client, key);
  const auto text = co_await getting;
  if (!text.ok()) {
    co_return text.status().IsKeyError() ? arrow::Status::OK() : text.status();
  }
  CYLON_CO_ASSIGN_OR_RETURN(const int64_t number, ParseCounter(key, *text));
  if (std::to_string(number) != *text) {
    co_return ParseCounter(key, "").status();  // "007": no number for a server
  }
  co_return AddToCounter(key, number, amount).status();
}

Co<int64_t> AddNow(ClientPtr client, std::string key, int64_t amount, Duration time_to_live) {
  CYLON_CO_RETURN_NOT_OK(CheckKeyAndValue(key));
  CYLON_CO_RETURN_NOT_OK(CheckTimeToLive(key, time_to_live));
  for (int round = 0; round < kMostRounds; ++round) {
    auto asking = Ask(client, AddRequest(key, amount, time_to_live));
    CYLON_CO_ASSIGN_OR_RETURN(const RespValue done, co_await asking);
    if (done.kind != RedisKind::kArray || done.elements.size() != 2) {
      co_return UnexpectedReply(client->server(), "EXEC", done);
    }
    const RespValue& sum = done.elements[0];
    if (sum.kind == RedisKind::kInteger) {
      co_return sum.number;
    }
    if (sum.kind != RedisKind::kError) {
      co_return UnexpectedReply(client->server(), "INCRBY", sum);
    }
    if (sum.text.find("not an integer") == std::string::npos && sum.text.find("overflow") == std::string::npos) {
      co_return RedisRefusal(client->server(), "INCRBY", sum.text);
    }
    auto asking_why = WhyNotAdded(client, key, amount);
    const arrow::Status why = co_await asking_why;
    CYLON_CO_RETURN_NOT_OK(why);
  }
  co_return arrow::Status::IOError("'", key, "' in the Redis server at ", client->server(), " changed ", kMostRounds,
                                   " times while something was added to it; use a key of its own for a counter");
}

Co<void> DeleteNow(ClientPtr client, std::string key) {
  CYLON_CO_RETURN_NOT_OK(CheckKeyAndValue(key));
  auto asking = Ask(client, DeleteRequest(key));
  CYLON_CO_ASSIGN_OR_RETURN(const RespValue reply, co_await asking);
  co_return reply.kind == RedisKind::kInteger ? arrow::Status::OK() : UnexpectedReply(client->server(), "DEL", reply);
}

/// The run id of a server, which it draws when it starts; "" where this user may not see it.
std::string RunId(const RespValue& info) {
  constexpr std::string_view kName = "run_id:";
  const size_t at = info.kind == RedisKind::kBulk ? info.text.find(kName) : std::string::npos;
  return at == std::string::npos ? ""
                                 : info.text.substr(at + kName.size(), info.text.find("\r\n", at) - at - kName.size());
}

/// What this client has put into the server, and whether it is still the same one.
struct RedisMemory {
  KeptValues values;
  std::string run_id;
};

/// On each new connection: where the server was started anew it may have lost its keys, and hears them again. What it
/// has kept on its disk stands as it is.
Co<void> Remind(std::shared_ptr<RedisLink> link, std::string server, std::shared_ptr<RedisMemory> memory,
                TimePoint now) {
  const std::vector<RedisCommand> info{{"INFO", "server"}};
  auto asking = link->Ask(info)->done;
  auto told = co_await asking;
  CYLON_CO_RETURN_NOT_OK(told.status());
  const std::string run_id = RunId((*told)[0]);
  if (run_id.empty() || memory->run_id.empty() || run_id == memory->run_id) {
    memory->run_id = run_id;
    co_return arrow::Status::OK();
  }
  const auto kept = memory->values.Standing(now);
  std::vector<RedisCommand> commands;
  for (const auto& entry : kept) {
    commands.push_back({"SET", RedisKey(entry.key), entry.value, "NX", "PX", std::to_string(entry.live_ms)});
    commands.push_back({"GET", RedisKey(entry.key)});
  }
  if (!commands.empty()) {
    auto setting = link->Ask(commands)->done;
    auto stands = co_await setting;
    CYLON_CO_RETURN_NOT_OK(stands.status());
    CYLON_CO_RETURN_NOT_OK(FirstRefusal(server, commands, *stands));
    std::vector<RedisCommand> raising;
    for (size_t i = 0; i < kept.size(); ++i) {
      const std::string& text = (*stands)[2 * i + 1].text;
      if (!kept[i].counts && text != kept[i].value) {
        memory->values.Erase(kept[i].key);  // another's by now
      }
      const auto value = ParseCounter(kept[i].key, text);
      const auto seen = ParseCounter(kept[i].key, kept[i].value);
      if (kept[i].counts && value.ok() && seen.ok() && *value < *seen) {
        raising.push_back({"INCRBY", RedisKey(kept[i].key), std::to_string(*seen - *value)});
      }
    }
    if (!raising.empty()) {
      auto adding = link->Ask(raising)->done;
      auto sums = co_await adding;
      CYLON_CO_RETURN_NOT_OK(sums.status());
      CYLON_CO_RETURN_NOT_OK(FirstRefusal(server, raising, *sums));
    }
  }
  memory->run_id = run_id;
  co_return arrow::Status::OK();
}

class RedisStore : public Store {
 public:
  RedisStore(Executor& executor, ClientPtr client, arrow::Future<> stop)
      : executor_(executor), state_(std::make_shared<State>(client, std::move(stop))) {
    client->SetGreeting(
        [memory = memory_, server = client->server(), &executor = executor_](std::shared_ptr<RedisLink> link) {
          return Remind(std::move(link), server, memory, executor.Now());
        });
  }

  ~RedisStore() override {
    RunNow(executor_, [state = state_] {
      for (const auto& wait : std::exchange(state->waits, {})) {
        wait->Finish(StoreClosed());
      }
      state->client->Close();
      state->stop.MarkFinished();
      state->closed = true;
    });
  }

  arrow::Future<> Set(const std::string& key, const std::string& value, Duration time_to_live) override {
    auto set = Spawn(executor_, SetNow(state_->client, key, value, time_to_live));
    set.AddCallback([keep = Keeping(key, time_to_live), value](const arrow::Status& status) {
      if (status.ok()) {
        keep(value, /*counts=*/false);
      }
    });
    return set;
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value,
                                         Duration time_to_live) override {
    auto set = Spawn(executor_, SetIfAbsentNow(state_->client, key, value, time_to_live));
    set.AddCallback(
        [keep = Keeping(key, time_to_live), memory = memory_, key, value](const arrow::Result<std::string>& stands) {
          if (stands.ok() && *stands == value) {
            keep(value, /*counts=*/false);
          } else if (stands.ok()) {
            memory->values.Erase(key);  // another's
          }
        });
    return set;
  }
  arrow::Future<std::string> TryGet(const std::string& key) override {
    return Spawn(executor_, TryGetNow(state_->client, key));
  }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) override {
    auto added = Spawn(executor_, AddNow(state_->client, key, amount, time_to_live));
    added.AddCallback([keep = Keeping(key, time_to_live)](const arrow::Result<int64_t>& sum) {
      if (sum.ok()) {
        keep(std::to_string(*sum), /*counts=*/true);
      }
    });
    return added;
  }
  arrow::Future<> Delete(const std::string& key) override {
    executor_.Post([memory = memory_, key] { memory->values.Erase(key); });
    return Spawn(executor_, DeleteNow(state_->client, key));
  }

  arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) override {
    auto wait = std::make_shared<Wait>();
    executor_.Post([&executor = executor_, state = state_, wait, key, deadline] {
      if (state->closed) {
        return wait->Finish(StoreClosed());
      }
      state->waits.insert(wait);
      if (deadline != kNever) {
        wait->timer = executor.PostAt(deadline, [weak = std::weak_ptr<State>(state), wait, key] {
          if (const auto late = weak.lock()) {
            late->Finish(wait, late->TooLate(key));
          }
        });
      }
      Look(executor, state, wait, key, kFirstLook);
    });
    return wait->done;
  }

 private:
  struct State {
    State(ClientPtr to, arrow::Future<> end) : client(std::move(to)), stop(std::move(end)) {}
    ClientPtr client;
    arrow::Future<> stop;
    bool closed = false;
    std::set<std::shared_ptr<Wait>> waits;

    void Finish(const std::shared_ptr<Wait>& wait, arrow::Result<std::string> result) {
      waits.erase(wait);
      wait->Finish(std::move(result));
    }
    arrow::Status TooLate(const std::string& key) const {
      const std::string trouble = client->trouble();
      return trouble.empty() ? GetTooLate(key)
                             : DeadlineError("the Redis server at " + client->server() + " is gone (" + trouble +
                                             "), and the deadline of the wait for '" + key +
                                             "' has passed; start the job again once it runs");
    }
  };

  /// What notes, in a task, that `key` was written.
  std::function<void(std::string value, bool counts)> Keeping(const std::string& key, Duration time_to_live) {
    return [memory = memory_, &executor = executor_, key, time_to_live](std::string value, bool counts) {
      memory->values.Put(executor.Now(), key, std::move(value), counts, time_to_live);
    };
  }

  /// Asks for the key, and again a while later where it is not there.
  static void Look(Executor& executor, const std::shared_ptr<State>& state, const std::shared_ptr<Wait>& wait,
                   const std::string& key, Duration pause) {
    auto value = arrow::Future<std::string>::Make();
    value.AddCallback(
        [&executor, weak = std::weak_ptr<State>(state), wait, key, pause](const arrow::Result<std::string>& got) {
          const auto self = weak.lock();
          if (!self || wait->done.is_finished()) {
            return;
          }
          if (got.ok() || !got.status().IsKeyError()) {
            return self->Finish(wait, got);
          }
          executor.PostAt(executor.Now() + pause, [&executor, weak, wait, key, pause] {
            const auto later = weak.lock();
            if (later && !wait->done.is_finished()) {
              Look(executor, later, wait, key, std::min<Duration>(2 * pause, kLongestLook));
            }
          });
        });
    internal::Drive(TryGetNow(state->client, key), value);
  }

  Executor& executor_;
  std::shared_ptr<RedisMemory> memory_ = std::make_shared<RedisMemory>();
  std::shared_ptr<State> state_;
};

Co<std::unique_ptr<Stream>> ConnectRedis(AsioExecutor* executor, RedisAddress address, std::string server,
                                         arrow::Future<> stop, TimePoint deadline) {
  CYLON_CO_ASSIGN_OR_RETURN(address.server, HostPort::Parse(server));
  auto dialling = ConnectTcp(executor->io(), *executor, address.server, deadline, stop);
  CYLON_CO_ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, co_await dialling);
  if (!address.tls) {
    co_return stream;
  }
  TlsOptions options;
  options.ca_file = address.ca_file;
  options.server_name = address.server.host;
  auto proving = TlsAsDialler(std::move(stream), *executor, std::move(options), deadline);
  co_return co_await proving;
}

}  // namespace

RedisConnector MakeRedisConnector(const RedisAddress& address, AsioExecutor& executor, const arrow::Future<>& stop) {
  return [address, &executor, stop](std::string server, TimePoint deadline) {
    return ConnectRedis(&executor, address, std::move(server), stop, deadline);
  };
}

arrow::Result<std::shared_ptr<RedisClient>> MakeRedisClient(const RedisAddress& address, AsioExecutor& executor,
                                                            const arrow::Future<>& stop, const std::string& job,
                                                            Duration patience) {
  // The only file there is; what cannot be read now will not be read by trying again.
  if (!address.ca_file.empty() && ::access(address.ca_file.c_str(), R_OK) != 0) {
    return arrow::Status::IOError("cannot read the CA file ", address.ca_file, " for the Redis server at ",
                                  address.server.ToString(), ": ", std::strerror(errno),
                                  "; name a PEM file that this process may read");
  }
  RedisLogin login;
  login.server = address.server.ToString();
  login.user = address.user;
  login.password = address.password;
  login.database = address.database;
  login.job = job;
  return std::make_shared<RedisClient>(executor, std::move(login), MakeRedisConnector(address, executor, stop),
                                       patience);
}

arrow::Result<std::unique_ptr<Store>> OpenRedisStore(const RedisAddress& address, const std::string& job,
                                                     AsioExecutor& executor, TimePoint deadline) {
  auto stop = arrow::Future<>::Make();
  ARROW_ASSIGN_OR_RAISE(auto client, MakeRedisClient(address, executor, stop, job));
  auto store = std::make_unique<RedisStore>(executor, client, stop);  // closes the client, whatever comes
  auto opening = Spawn(executor, RedisClient::Open(client, deadline));
  ARROW_RETURN_NOT_OK(executor.Await(opening));
  return store;
}

}  // namespace cylon
