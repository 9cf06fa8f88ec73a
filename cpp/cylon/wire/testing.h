/// What the tests of the wire share: an executor with a listener, and a pair of connected streams.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/wire/stream.h"

namespace cylon::testing {

/// So long may a wait of a test take.
inline constexpr auto kPatience = std::chrono::seconds(60);

inline std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::span<uint8_t> Bytes(std::string& text) { return {reinterpret_cast<uint8_t*>(text.data()), text.size()}; }

/// An executor for a test's own thread: what belongs to its tasks is called in Do and Start.
class TestExecutor {
 public:
  explicit TestExecutor(const std::string& name) : executor(name) {}

  template <typename F>
  void Do(F function) {
    EXPECT_TRUE(executor
                    .RunTask([&] {
                      function();
                      return arrow::Status::OK();
                    })
                    .ok());
  }
  template <typename F>
  auto Start(F function) {
    decltype(function()) future;
    Do([&] { future = function(); });
    return future;
  }
  template <typename T>
  auto Await(const arrow::Future<T>& future) {
    return executor.Await(future, executor.Now() + kPatience);
  }

  AsioExecutor executor;
};

/// Both ends of one connection, on one executor. Calls on them belong into Do.
class StreamPair : public TestExecutor {
 public:
  explicit StreamPair(const std::string& host = "127.0.0.1") : TestExecutor("pair") {
    std::promise<std::unique_ptr<Stream>> accepted;
    Do([&] {
      listener = ListenTcp(executor.io(), {host, 0}, [&accepted](std::unique_ptr<Stream> stream) {
                   accepted.set_value(std::move(stream));
                 }).ValueOrDie();
    });
    const auto deadline = executor.Now() + kPatience;
    auto dialled = Spawn(executor, ConnectTcp(executor.io(), executor, listener->address(), deadline));
    EXPECT_TRUE(executor.Wait(arrow::Future<>(dialled), deadline).ok());
    auto other = accepted.get_future();
    EXPECT_EQ(other.wait_for(kPatience), std::future_status::ready);
    far = other.get();
    near = dialled.MoveResult().ValueOrDie();
  }
  ~StreamPair() {
    Do([&] {
      near.reset();
      far.reset();
      listener.reset();
    });
  }

  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> near;
  std::unique_ptr<Stream> far;
};

}  // namespace cylon::testing
