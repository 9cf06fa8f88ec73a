/// For tests: what speaks Redis' protocol, or another, and answers as a test tells it to.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/bootstrap/redis_link.h"
#include "cylon/wire/resp.h"
#include "cylon/wire/stream.h"

namespace cylon::testing {

/// Serves any number of connections, in tasks of an executor of its own.
class FakeRedis {
 public:
  /// What `answer` returns to close the connection, or to say nothing.
  inline static const std::string kHangUp = "hang up";
  inline static const std::string kSilence;

  /// `answer` gets each command and returns the bytes to send.
  using Answer = std::function<std::string(const RedisCommand&)>;

  explicit FakeRedis(Answer answer) : answer_(std::move(answer)) {
    Do([this] {
      listener_ = ListenTcp(executor_.io(), {"127.0.0.1", 0}, [this](std::unique_ptr<Stream> stream) {
                    streams_.push_back(std::move(stream));
                    internal::DriveVoid(Serve(this, streams_.back()), arrow::Future<>::Make());
                  }).ValueOrDie();
    });
  }
  ~FakeRedis() {
    Do([this] {
      listener_.reset();
      for (const auto& stream : streams_) {
        stream->Close();
      }
    });
  }
  FakeRedis(const FakeRedis&) = delete;
  FakeRedis& operator=(const FakeRedis&) = delete;

  HostPort address() const { return listener_->address(); }
  std::string url(const std::string& login = "") const { return "redis://" + login + address().ToString(); }

  /// What a server says to which everything is fine and that keeps nothing.
  static std::string Obedient(const RedisCommand& command) {
    if (command[0] == "CONFIG") {
      return "*4\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n";
    }
    if (command[0] == "GET") {
      return "$-1\r\n";
    }
    if (command[0] == "DEL") {
      return ":0\r\n";
    }
    if (command[0] == "INCRBY" || command[0] == "PEXPIRE") {
      return "+QUEUED\r\n";
    }
    return command[0] == "EXEC" ? "*2\r\n:1\r\n:1\r\n" : "+OK\r\n";
  }

 private:
  void Do(const std::function<void()>& work) {
    static_cast<void>(executor_.RunTask([&work] {
      work();
      return arrow::Status::OK();
    }));
  }

  static Co<void> Serve(FakeRedis* self, std::shared_ptr<Stream> stream) {
    RespDecoder decoder;
    std::string buffer(1 << 16, '\0');
    while (true) {
      auto reading = stream->ReadSome({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()});
      const auto got = co_await reading;
      if (!got.ok() || *got == 0) {
        co_return got.status();
      }
      std::string_view rest = std::string_view(buffer).substr(0, static_cast<size_t>(*got));
      while (!rest.empty()) {
        const auto command = decoder.Next(&rest);
        if (!command.ok()) {
          co_return command.status();
        }
        if (!command->has_value()) {
          break;
        }
        RedisCommand words;
        for (const auto& word : (*command)->elements) {
          words.push_back(word.text);
        }
        const std::string said = self->answer_(words);
        if (said == kHangUp) {
          stream->Close();
          co_return arrow::Status::OK();
        }
        std::vector<std::span<const uint8_t>> parts;
        parts.emplace_back(reinterpret_cast<const uint8_t*>(said.data()), said.size());
        auto writing = stream->Write(std::move(parts));
        const arrow::Status status = co_await writing;
        CYLON_CO_RETURN_NOT_OK(status);
      }
    }
  }

  Answer answer_;
  AsioExecutor executor_{"fake redis"};
  std::unique_ptr<Listener> listener_;
  std::vector<std::shared_ptr<Stream>> streams_;
};

}  // namespace cylon::testing
