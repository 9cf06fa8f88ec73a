// Messages through a Redis server beside a plain pipeline of the same values through it, in turns, between two ranks.
//
//   CYLON_TRANSPORT=redis CYLON_REDIS=redis://127.0.0.1:6379 cylon run -n 2 build/release/bin/benchmark-redis-bench
//
// The plain pipeline is what a client could do at best with the same commands: blocking sockets, no encryption, no
// frames, four values under way, each put into a stream (XADD), read (XREAD) and removed (XDEL).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cylon/comm/context.h"

namespace cylon {
namespace {

constexpr int kUnderWay = 4;
constexpr int64_t kLargest = 1 << 20;

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// A connection that blocks. What goes wrong ends the program by an error status.
class RawRedis {
 public:
  explicit RawRedis(const std::string& url) {
    const size_t colon = url.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(url.substr(colon + 1))));
    ::inet_pton(AF_INET, url.substr(8, colon - 8).c_str(), &to.sin_addr);
    descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const void* generic = &to;
    ok_ = ::connect(descriptor_, static_cast<const sockaddr*>(generic), sizeof(to)) == 0;
  }
  ~RawRedis() { ::close(descriptor_); }
  RawRedis(const RawRedis&) = delete;
  RawRedis& operator=(const RawRedis&) = delete;

  void Write(const std::string& bytes) {
    for (size_t at = 0; ok_ && at < bytes.size();) {
      const ssize_t sent = ::send(descriptor_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      ok_ = sent > 0;
      at += ok_ ? static_cast<size_t>(sent) : 0;
    }
  }
  std::string Line() {
    std::string line;
    while (ok_) {
      while (begin_ < end_) {
        const char c = buffer_[begin_++];
        if (c == '\n') {
          return line;
        }
        line += c == '\r' ? "" : std::string(1, c);
      }
      Fill();
    }
    return line;
  }
  void Skip(size_t bytes) {
    while (ok_ && bytes > 0) {
      if (begin_ == end_) {
        Fill();
      }
      const size_t take = std::min(bytes, end_ - begin_);
      begin_ += take;
      bytes -= take;
    }
  }
  /// The texts of one reply, however it is nested; values of more than 100 bytes are read and not kept.
  std::vector<std::string> Reply() {
    std::vector<std::string> texts;
    for (int64_t missing = 1; ok_ && missing > 0; --missing) {
      const std::string line = Line();
      const int64_t number = line.size() > 1 ? std::atoll(line.c_str() + 1) : 0;
      if (line[0] == '*') {
        missing += std::max<int64_t>(number, 0);
      } else if (line[0] == '$' && number > 100) {
        Skip(static_cast<size_t>(number) + 2);
        texts.emplace_back("value");
      } else if (line[0] == '$' && number >= 0) {
        texts.push_back(Line());
      } else {
        texts.push_back(line);
      }
    }
    return texts;
  }
  arrow::Status status() const {
    return ok_ ? arrow::Status::OK() : arrow::Status::IOError("the server does not answer; check CYLON_REDIS");
  }

 private:
  void Fill() {
    const ssize_t got = ::recv(descriptor_, buffer_.data(), buffer_.size(), 0);
    ok_ = got > 0;
    begin_ = 0;
    end_ = ok_ ? static_cast<size_t>(got) : 0;
  }

  int descriptor_;
  bool ok_;
  std::array<char, 256 << 10> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

std::string Command(const std::vector<std::string>& words) {
  std::string out = "*" + std::to_string(words.size()) + "\r\n";
  for (const auto& word : words) {
    out += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return out;
}

/// Reads `count` values from `stream` and removes them.
void RawReceive(RawRedis& redis, const std::string& stream, int64_t count) {
  std::string remove;
  for (int64_t read = 0; read < count && redis.status().ok();) {
    redis.Write(remove + Command({"XREAD", "COUNT", "16", "BLOCK", "2000", "STREAMS", stream, "0"}));
    if (!remove.empty()) {
      redis.Reply();
    }
    std::vector<std::string> ids{"XDEL", stream};
    const auto texts = redis.Reply();  // the stream's name, then id, field and value of each
    for (size_t i = 1; i + 2 < texts.size(); i += 3) {
      ids.push_back(texts[i]);
      ++read;
    }
    remove = ids.size() > 2 ? Command(ids) : "";
  }
  redis.Write(remove);
  redis.Reply();
}

void RawSend(RawRedis& redis, const std::string& stream, int64_t bytes, int64_t count) {
  const std::string command = Command({"XADD", stream, "*", "v", std::string(static_cast<size_t>(bytes), 'x')});
  for (int64_t i = 0; i < count + kUnderWay; ++i) {
    if (i < count) {
      redis.Write(command);
    }
    if (i >= kUnderWay) {
      redis.Reply();
    }
  }
}

/// Seconds for `count` values of `bytes` from rank 0 to rank 1, and one back.
arrow::Result<double> Raw(Context& context, RawRedis& redis, int64_t bytes, int64_t count) {
  auto& comm = context.communicator();
  ARROW_RETURN_NOT_OK(comm.Barrier());
  const double begin = Now();
  if (context.rank() == 0) {
    RawSend(redis, "raw-to-1", bytes, count);
    RawReceive(redis, "raw-to-0", 1);
  } else {
    RawReceive(redis, "raw-to-1", count);
    RawSend(redis, "raw-to-0", 1, 1);
  }
  const double seconds = Now() - begin;
  ARROW_RETURN_NOT_OK(redis.status());
  return seconds;
}

arrow::Result<double> Ours(Context& context, int64_t bytes, int64_t count) {
  auto& comm = context.communicator();
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> value, arrow::AllocateBuffer(bytes));
  std::memset(value->mutable_data(), 1, static_cast<size_t>(bytes));
  std::shared_ptr<arrow::Buffer> one = arrow::Buffer::FromString("1");
  ARROW_RETURN_NOT_OK(comm.Barrier());
  const double begin = Now();
  if (context.rank() == 0) {
    std::vector<arrow::Future<>> sends;
    for (int64_t i = 0; i < count; ++i) {
      sends.push_back(comm.SendAsync(1, value, 1));
    }
    for (const auto& send : sends) {
      ARROW_RETURN_NOT_OK(comm.Await(send));
    }
    ARROW_RETURN_NOT_OK(comm.Receive(1, 2).status());
  } else {
    std::vector<arrow::Future<std::shared_ptr<arrow::Buffer>>> values;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(comm.ReceiveAsync(0, 1));
    }
    for (auto& arrived : values) {
      ARROW_RETURN_NOT_OK(comm.Await(arrived).status());
      arrived = {};
    }
    ARROW_RETURN_NOT_OK(comm.Send(0, one, 2));
  }
  return Now() - begin;
}

/// Microseconds of a message of 8 bytes there and back, halved.
arrow::Result<double> RawLatency(Context& context, RawRedis& redis, int rounds) {
  ARROW_RETURN_NOT_OK(context.communicator().Barrier());
  const double begin = Now();
  for (int i = 0; i < rounds; ++i) {
    if (context.rank() == 0) {
      RawSend(redis, "raw-to-1", 8, 1);
      RawReceive(redis, "raw-to-0", 1);
    } else {
      RawReceive(redis, "raw-to-1", 1);
      RawSend(redis, "raw-to-0", 8, 1);
    }
  }
  const double seconds = Now() - begin;
  ARROW_RETURN_NOT_OK(redis.status());
  return seconds / rounds / 2 * 1e6;
}

arrow::Result<double> OurLatency(Context& context, int rounds) {
  auto& comm = context.communicator();
  std::shared_ptr<arrow::Buffer> value = arrow::Buffer::FromString("12345678");
  ARROW_RETURN_NOT_OK(comm.Barrier());
  const double begin = Now();
  for (int i = 0; i < rounds; ++i) {
    if (context.rank() == 0) {
      ARROW_RETURN_NOT_OK(comm.Send(1, value, 3));
    }
    ARROW_RETURN_NOT_OK(comm.Receive(1 - context.rank(), 3).status());
    if (context.rank() == 1) {
      ARROW_RETURN_NOT_OK(comm.Send(0, value, 3));
    }
  }
  return (Now() - begin) / rounds / 2 * 1e6;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

arrow::Status Run(int rounds, int64_t mib) {
  ARROW_ASSIGN_OR_RAISE(auto options, OptionsFromEnvironment());
  const std::string url = options.redis.empty() ? options.store : options.redis;
  if (options.transport != "redis" || !url.starts_with("redis://") || url.find('@') != std::string::npos) {
    return arrow::Status::Invalid(
        "this measures transport redis through a server without a password; set CYLON_TRANSPORT=redis and "
        "CYLON_REDIS=redis://127.0.0.1:6379");
  }
  ARROW_ASSIGN_OR_RAISE(auto context, Context::Connect(std::move(options)));
  if (context->world_size() != 2) {
    return arrow::Status::Invalid("there are ", context->world_size(), " ranks; start two");
  }
  RawRedis redis(url);
  const bool tells = context->rank() == 0;
  for (int64_t bytes = 1 << 10; bytes <= kLargest; bytes *= 4) {
    const int64_t count = std::min<int64_t>((mib << 20) / bytes, 20000);
    std::vector<double> raw;
    std::vector<double> ours;
    for (int round = 0; round < rounds; ++round) {
      ARROW_ASSIGN_OR_RAISE(const double r, Raw(*context, redis, bytes, count));
      ARROW_ASSIGN_OR_RAISE(const double o, Ours(*context, bytes, count));
      raw.push_back(r);
      ours.push_back(o);
    }
    const double megabytes = static_cast<double>(bytes * count) / 1e6;
    if (tells) {
      std::printf("%8ld B   plain %7.0f MB/s   transport %7.0f MB/s   ratio %.2f\n", static_cast<long>(bytes),
                  megabytes / Median(raw), megabytes / Median(ours), Median(raw) / Median(ours));
    }
  }
  std::vector<double> raw;
  std::vector<double> ours;
  for (int round = 0; round < rounds; ++round) {
    ARROW_ASSIGN_OR_RAISE(const double r, RawLatency(*context, redis, 500));
    ARROW_ASSIGN_OR_RAISE(const double o, OurLatency(*context, 500));
    raw.push_back(r);
    ours.push_back(o);
  }
  if (tells) {
    std::printf("one way, 8 B:  plain %.0f us   transport %.0f us   ratio %.2f\n", Median(raw), Median(ours),
                Median(ours) / Median(raw));
    redis.Write(Command({"DEL", "raw-to-0", "raw-to-1"}));
    redis.Reply();
  }
  return context->Close();
}

}  // namespace
}  // namespace cylon

int main(int argc, char** argv) {
  CLI::App app{"Messages through a Redis server beside a plain pipeline of the same values, in turns."};
  int rounds = 5;
  int64_t mib = 128;
  app.add_option("--rounds", rounds, "how often each is measured; medians are told")->capture_default_str();
  app.add_option("--mib", mib, "how much each moves in a round, at most")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto status = cylon::Run(rounds, mib);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
