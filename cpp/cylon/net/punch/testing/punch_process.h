/// For tests: processes with paths to each other, on executors of their own.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/punch/testing/fake_courier.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {

/// One process: an executor, its paths, and what was accepted on them.
class Process : public TestExecutor {
 public:
  explicit Process(CourierHub& hub, const std::string& name = "", const std::string& secret = "a secret")
      : TestExecutor("process") {
    Do([&] {
      courier = hub.Join(executor, name);
      paths = MakePunchPaths(executor, courier, secret, "job", {.loopback = true, .hosts = std::vector<std::string>{}})
                  .ValueOrDie();
      for (const auto& path : paths) {
        path->Accept([this](std::unique_ptr<Stream> stream) {
          accepted.push_back(std::move(stream));
          if (!arrived.is_finished()) {
            arrived.MarkFinished();
          }
        });
      }
    });
  }
  ~Process() {
    Do([&] {
      accepted.clear();
      paths.clear();
      courier.reset();
    });
  }

  TimePoint in(Duration span) { return executor.Now() + span; }
  std::string punch() const { return "punch://" + courier->name(); }
  std::string relay() const { return "relay://" + courier->name(); }

  using Dialled = arrow::Future<std::unique_ptr<Stream>>;
  Dialled StartDial(const std::string& address, Duration span = kPatience, arrow::Future<> stop = {}) {
    const auto& path = paths[address.starts_with("punch") ? 0 : 1];
    return Spawn(executor, path->Dial(address, in(span), std::move(stop)));
  }
  arrow::Result<std::unique_ptr<Stream>> Finish(Dialled& dialled) {
    EXPECT_TRUE(executor.Wait(arrow::Future<>(dialled), in(kPatience)).ok());
    return dialled.MoveResult();
  }
  arrow::Result<std::unique_ptr<Stream>> Dial(const std::string& address, Duration span = kPatience) {
    auto dialled = StartDial(address, span);
    return Finish(dialled);
  }
  std::unique_ptr<Stream> Accepted() {
    EXPECT_TRUE(Await(arrived).ok());
    std::unique_ptr<Stream> stream;
    Do([&] {
      stream = std::move(accepted.front());
      accepted.erase(accepted.begin());
      if (accepted.empty()) {
        arrived = arrow::Future<>::Make();
      }
    });
    return stream;
  }

  std::shared_ptr<FakeCourier> courier;
  std::vector<std::unique_ptr<Path>> paths;
  std::vector<std::unique_ptr<Stream>> accepted;
  arrow::Future<> arrived = arrow::Future<>::Make();
};

/// What is written at one end is read at the other.
inline void ExpectPassage(Process& here, Stream* near, Process& there, Stream* far) {
  std::string got(5, '\0');
  auto read = there.Start([&] { return far->Read(Bytes(got)); });
  auto written = here.Start([&] { return near->Write({Bytes(std::string_view("hello"))}); });
  EXPECT_TRUE(here.Await(written).ok());
  EXPECT_TRUE(there.Await(read).ok());
  EXPECT_EQ(got, "hello");
}

inline void ExpectConnection(Process& here, arrow::Result<std::unique_ptr<Stream>> dialled, Process& there) {
  ASSERT_TRUE(dialled.ok()) << dialled.status();
  auto near = std::move(*dialled);
  auto far = there.Accepted();
  EXPECT_FALSE(near->is_loopback());
  EXPECT_FALSE(far->is_loopback());
  ExpectPassage(here, near.get(), there, far.get());
  ExpectPassage(there, far.get(), here, near.get());
  here.Do([&] { near.reset(); });
  std::string rest(1, '\0');
  EXPECT_TRUE(IsEndOfStream(there.Await(there.Start([&] { return far->Read(Bytes(rest)); }))));
  there.Do([&] { far.reset(); });
}

}  // namespace cylon::testing
