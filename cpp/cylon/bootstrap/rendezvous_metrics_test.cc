// What a rendezvous server says of itself: numbers over HTTP, and events.
#include "cylon/bootstrap/rendezvous_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <sstream>

#include "cylon/bootstrap/metrics_port.h"
#include "cylon/bootstrap/rendezvous_server.h"
#include "cylon/bootstrap/tcp_store.h"
#include "cylon/bootstrap/testing/any_store.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(RendezvousMetricsTest, EveryLineIsPrometheusText) {
  RendezvousCounters counters;
  counters.sessions = 3;
  counters.relayed_bytes = uint64_t{1} << 40;
  counters.strangers_by_reason = {{"secret", 2}, {"slow", 5}};
  counters.uptime_s = 1.5;
  std::istringstream text(RendezvousMetrics(counters));
  std::set<std::string> typed;
  std::set<std::string> samples;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::string first;
    std::string second;
    std::string name;
    words >> first >> second >> name;
    if (first == "#") {
      EXPECT_TRUE(second == "HELP" || second == "TYPE") << line;
      typed.insert(name);
    } else {
      EXPECT_TRUE(samples.insert(first).second) << line << " stands twice";
      EXPECT_TRUE(typed.contains(first.substr(0, first.find('{')))) << line << " has no type";
      EXPECT_EQ(second.find_first_not_of("0123456789."), std::string::npos) << line;
    }
  }
  EXPECT_THAT(RendezvousMetrics(counters), HasSubstr("\ncylon_rendezvous_sessions 3\n"));
  EXPECT_THAT(RendezvousMetrics(counters), HasSubstr("\ncylon_rendezvous_relayed_bytes_total 1099511627776\n"));
  EXPECT_THAT(RendezvousMetrics(counters),
              HasSubstr("\ncylon_rendezvous_strangers_refused_total{reason=\"slow\"} 5\n"));
}

TEST(MetricsPortTest, OnlyGetOfTheMetricsIsAnswered) {
  const auto text = [] { return std::string("x 1\n"); };
  EXPECT_EQ(AnswerHttp("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", text),
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: "
            "4\r\nConnection: close\r\n\r\nx 1\n");
  EXPECT_THAT(AnswerHttp("GET / HTTP/1.0\r\n\r\n", text), StartsWith("HTTP/1.0 404 "));
  EXPECT_THAT(AnswerHttp("POST /metrics HTTP/1.1\r\n\r\n", text), StartsWith("HTTP/1.0 405 "));
  for (const char* request : {"", "GET", "GET ", "GET /metrics", "GET /metrics FTP\r\n", "\r\n", "  "}) {
    EXPECT_THAT(AnswerHttp(request, text), StartsWith("HTTP/1.0 400 ")) << request;
  }
}

class MetricsServerTest : public ::testing::Test {
 protected:
  MetricsServerTest() {
    RendezvousConfig config{SecuredBy(kSecret)};
    config.metrics = HostPort{"127.0.0.1", 0};
    config.log = [this](const ServerEvent& event) {
      const std::lock_guard<std::mutex> lock(mutex_);
      events_.push_back(event);
    };
    server_ = RendezvousServer::Start(server_executor_, {"127.0.0.1", 0}, 0, std::move(config)).ValueOrDie();
  }
  /// What is read until the end, after `request`.
  std::string Ask(const std::string& request, bool ends = false) {
    auto dialling = Spawn(executor_, ConnectTcp(executor_.io(), executor_, server_->metrics_address(), Soon()));
    EXPECT_TRUE(executor_.Wait(arrow::Future<>(dialling)).ok());
    auto stream = dialling.MoveResult().ValueOrDie();
    std::string answer;
    std::string buffer(4096, '\0');
    arrow::Future<> writing;
    arrow::Future<int64_t> reading;
    Do([&] {
      std::vector<std::span<const uint8_t>> parts;
      parts.emplace_back(reinterpret_cast<const uint8_t*>(request.data()), request.size());
      writing = stream->Write(std::move(parts));
    });
    EXPECT_TRUE(executor_.Wait(writing).ok());
    for (int64_t got = 1; got > 0 && !ends;) {
      Do([&] { reading = stream->ReadSome({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()}); });
      got = executor_.Await(reading).ValueOr(0);
      answer.append(buffer, 0, static_cast<size_t>(got));
    }
    Do([&] { stream.reset(); });
    return answer;
  }
  template <typename F>
  void Do(F function) {
    ASSERT_TRUE(executor_
                    .RunTask([&] {
                      function();
                      return arrow::Status::OK();
                    })
                    .ok());
  }
  TimePoint Soon() { return executor_.Now() + kPatience; }
  bool Told(const std::string& what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::any_of(events_.begin(), events_.end(), [&](const auto& event) { return event.what == what; });
  }

  std::mutex mutex_;
  std::vector<ServerEvent> events_;
  AsioExecutor server_executor_{"server"};
  AsioExecutor executor_{"client"};
  std::unique_ptr<RendezvousServer> server_;
};

TEST_F(MetricsServerTest, WhatHappensIsCountedAndTold) {
  const std::string get = "GET /metrics HTTP/1.0\r\n\r\n";
  EXPECT_THAT(Ask(get), HasSubstr("cylon_rendezvous_worlds_total 0\n"));
  const auto store = OpenTcpStore(server_->address(), SecuredBy(kSecret), executor_, Soon()).ValueOrDie();
  ASSERT_TRUE(executor_.Await(store->Set("job/e/table", "{}", kRunTimeToLive)).ok());
  EXPECT_FALSE(OpenTcpStore(server_->address(), SecuredBy(std::string(32, 'x')), executor_, Soon()).ok());
  std::string text = Ask(get);
  while (text.find("{reason=\"secret\"}") == std::string::npos && executor_.Now() < Soon()) {
    text = Ask(get);  // it is counted when it has been told why
  }
  EXPECT_THAT(text, HasSubstr("cylon_rendezvous_worlds_total 1\n"));
  EXPECT_THAT(text, HasSubstr("cylon_rendezvous_store_clients 1\n"));
  EXPECT_THAT(text, HasSubstr("cylon_rendezvous_store_bytes 13\n"));
  EXPECT_THAT(text, HasSubstr("cylon_rendezvous_strangers_refused_total{reason=\"secret\"} 1\n"));
  EXPECT_TRUE(Told("admitted") && Told("refused") && Told("world"));
}

TEST_F(MetricsServerTest, WhoAsksForSomethingElseOrTooMuchDisturbsNobody) {
  EXPECT_THAT(Ask("POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.0 405 "));
  EXPECT_THAT(Ask(std::string(4096, 'x')), StartsWith("HTTP/1.0 400 "));
  Ask("GET /met", /*ends=*/true);
  std::vector<std::unique_ptr<Stream>> silent;
  for (int i = 0; i < 20; ++i) {
    auto dialling = Spawn(executor_, ConnectTcp(executor_.io(), executor_, server_->metrics_address(), Soon()));
    ASSERT_TRUE(executor_.Wait(arrow::Future<>(dialling)).ok());
    silent.push_back(dialling.MoveResult().ValueOrDie());
  }
  EXPECT_THAT(Ask("GET /metrics HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200 "));
  Do([&] { silent.clear(); });
}

}  // namespace
}  // namespace cylon::testing
