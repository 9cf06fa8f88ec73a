/// For tests: processes of one test that talk through memory as if through a server.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <asio/local/stream_protocol.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/wire/socket_stream.h"

namespace cylon::testing {

class FakeCourier;

/// The server. From any thread.
class CourierHub {
 public:
  /// What passes: false where it is lost. May change it. Called with the hub locked.
  using Censor = std::function<bool(const std::string& from, const std::string& to, CourierLetter* letter)>;

  std::shared_ptr<FakeCourier> Join(AsioExecutor& executor, std::string name = "");
  void SetCensor(Censor censor) {
    const std::lock_guard lock(mutex_);
    censor_ = std::move(censor);
  }
  /// Passes `letter` on to `to`, whoever wrote it.
  void Inject(const std::string& to, const CourierLetter& letter) {
    const std::lock_guard lock(mutex_);
    Deliver(to, letter);
  }
  int relays() const {
    const std::lock_guard lock(mutex_);
    return relays_;
  }

 private:
  friend class FakeCourier;
  /// A process that waits at the relay.
  struct Meeting {
    arrow::Future<> met = arrow::Future<>::Make();
    std::unique_ptr<Stream> stream;
    AsioExecutor* executor = nullptr;
  };
  struct Member {
    AsioExecutor* executor;
    std::weak_ptr<FakeCourier> courier;
  };

  bool Deliver(const std::string& to, const CourierLetter& letter);
  void Meet(const std::string& token, const std::shared_ptr<Meeting>& meeting);
  void Leave(const std::string& name) {
    const std::lock_guard lock(mutex_);
    members_.erase(name);
  }
  /// With a lock, as its executor may go as soon as nobody waits there any more.
  void Forget(const std::string& token, const std::shared_ptr<Meeting>& meeting) {
    const std::lock_guard lock(mutex_);
    if (auto at = waiting_.find(token); at != waiting_.end() && at->second == meeting) {
      waiting_.erase(at);
    }
  }

  mutable std::mutex mutex_;
  Censor censor_;
  std::map<std::string, Member> members_;
  std::map<std::string, std::shared_ptr<Meeting>> waiting_;
  int relays_ = 0;
};

/// One process. All calls in its tasks.
class FakeCourier : public Courier, public std::enable_shared_from_this<FakeCourier> {
 public:
  FakeCourier(CourierHub& hub, AsioExecutor& executor, std::string name)
      : hub_(hub), executor_(executor), name_(std::move(name)) {}
  ~FakeCourier() override { FakeCourier::Close(); }

  std::string name() const override { return name_; }
  const SeenAddresses& seen() const override { return seen_; }

  Co<SeenAddresses> Probe(uint16_t local_port, TimePoint) override {
    ++probes;
    probed.insert(local_port);
    CYLON_CO_RETURN_NOT_OK(closed_ ? Closed() : probe_error);
    seen_ = see ? see(local_port) : SeenAddresses{{{"127.0.0.1", local_port}}, false};
    co_return seen_;
  }

  arrow::Future<> Tell(const std::string& to, const std::string& text) override {
    if (closed_) {
      return arrow::Future<>::MakeFinished(Closed());
    }
    if (text.size() > kMaxLetter) {
      return arrow::Future<>::MakeFinished(arrow::Status::Invalid("too long"));
    }
    const std::lock_guard lock(hub_.mutex_);
    CourierLetter letter{name_, seen_, text};
    if (hub_.members_.contains(to) && hub_.censor_ && !hub_.censor_(name_, to, &letter)) {
      return Done();
    }
    return hub_.Deliver(to, letter) ? acknowledged : arrow::Future<>::MakeFinished(arrow::Status::KeyError("no ", to));
  }

  void OnLetter(std::function<void(const CourierLetter&)> on_letter) override { on_letter_ = std::move(on_letter); }

  Co<std::unique_ptr<Stream>> Relay(const std::string& to, const std::string& token, TimePoint deadline) override {
    return Relay(shared_from_this(), to, token, deadline);
  }

  void Close() override {
    if (!std::exchange(closed_, true)) {
      hub_.Leave(name_);
      on_letter_ = nullptr;
      for (const auto& meeting : std::exchange(meetings_, {})) {
        Finish(meeting, Closed());
      }
    }
  }

  void Hear(const CourierLetter& letter) {
    if (auto tell = on_letter_) {
      tell(letter);
    }
  }

  std::function<SeenAddresses(uint16_t)> see;  ///< none: what is right on this host
  arrow::Future<> acknowledged = Done();       ///< what has arrived; in the meantime nobody knows
  arrow::Status probe_error;
  arrow::Status relay_error;
  int probes = 0;
  std::set<uint16_t> probed;

 private:
  using Meeting = CourierHub::Meeting;

  static arrow::Status Closed() { return arrow::Status::Cancelled("the courier was closed"); }
  static void Finish(const std::shared_ptr<Meeting>& meeting, const arrow::Status& status) {
    if (!meeting->met.is_finished()) {
      meeting->met.MarkFinished(status);
    }
  }

  static Co<std::unique_ptr<Stream>> Relay(std::shared_ptr<FakeCourier> self, std::string, std::string token,
                                           TimePoint deadline) {
    CYLON_CO_RETURN_NOT_OK(self->closed_ ? Closed() : self->relay_error);
    auto meeting = std::make_shared<Meeting>();
    meeting->executor = &self->executor_;
    self->meetings_.insert(meeting);
    auto timer = self->executor_.PostAt(
        deadline, [meeting] { Finish(meeting, DeadlineError("the other side did not come to the relay")); });
    self->hub_.Meet(token, meeting);
    auto met = meeting->met;
    const auto status = co_await met;
    timer->Cancel();
    self->hub_.Forget(token, meeting);
    self->meetings_.erase(meeting);
    CYLON_CO_RETURN_NOT_OK(status);
    co_return std::move(meeting->stream);
  }

  CourierHub& hub_;
  AsioExecutor& executor_;
  const std::string name_;
  SeenAddresses seen_;
  std::function<void(const CourierLetter&)> on_letter_;
  std::set<std::shared_ptr<Meeting>> meetings_;
  bool closed_ = false;
};

inline std::shared_ptr<FakeCourier> CourierHub::Join(AsioExecutor& executor, std::string name) {
  if (name.empty()) {
    name = HexEncode(RandomBytes(16).ValueOrDie());
  }
  auto courier = std::make_shared<FakeCourier>(*this, executor, name);
  const std::lock_guard lock(mutex_);
  members_[name] = {&executor, courier};
  return courier;
}

inline bool CourierHub::Deliver(const std::string& to, const CourierLetter& letter) {
  const auto at = members_.find(to);
  if (at == members_.end()) {
    return false;
  }
  at->second.executor->Post([weak = at->second.courier, letter] {
    if (auto courier = weak.lock()) {
      courier->Hear(letter);
    }
  });
  return true;
}

/// Who comes second joins both ends.
inline void CourierHub::Meet(const std::string& token, const std::shared_ptr<Meeting>& meeting) {
  const std::lock_guard lock(mutex_);
  const auto at = waiting_.find(token);
  if (at == waiting_.end()) {
    waiting_.emplace(token, meeting);
    return;
  }
  ++relays_;
  std::array<int, 2> ends{-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
  const std::array<std::shared_ptr<Meeting>, 2> both{at->second, meeting};
  waiting_.erase(at);
  for (size_t i = 0; i < both.size(); ++i) {
    using Socket = asio::local::stream_protocol::socket;
    auto socket = std::make_shared<Socket>(both[i]->executor->io(), asio::local::stream_protocol(), ends[i]);
    both[i]->executor->Post([meeting = both[i], socket] {
      if (!meeting->met.is_finished()) {
        // On loopback, as far as this stream knows.
        meeting->stream = std::make_unique<internal::SocketStream<Socket>>(std::move(*socket), "relay", true);
        meeting->met.MarkFinished();
      }
    });
  }
}

}  // namespace cylon::testing
