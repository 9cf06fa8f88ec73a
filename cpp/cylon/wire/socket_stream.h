/// Streams over connected sockets of any family.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <asio/socket_base.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/failpoint.h"
#include "cylon/wire/end_of_stream.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// Parts that one system call gathers: Linux takes 1024, the gain ends far earlier.
inline constexpr size_t kGather = 64;
/// What one direction of one stream moves before others have their turn, in bytes and in calls.
inline constexpr int64_t kTurnBytes = 4 << 20;
inline constexpr int kTurnCalls = 32;

/// Shared with the handlers under way, so that these find memory whatever became of the stream. A socket is used for
/// waiting only; data moves by system calls straight from and to the caller's memory.
template <typename Socket>
class SocketState : public std::enable_shared_from_this<SocketState<Socket>> {
 public:
  SocketState(Socket socket, std::string peer_name, bool is_loopback)
      : socket_(std::move(socket)), peer_name_(std::move(peer_name)), is_loopback_(is_loopback) {
    asio::error_code ignored;
    socket_.non_blocking(true, ignored);
  }

  arrow::Future<int64_t> Read(std::span<uint8_t> into, bool all) {
    if (closed_) {
      return arrow::Future<int64_t>::MakeFinished(ClosedHere());
    }
    if (read_.has_value()) {
      return arrow::Future<int64_t>::MakeFinished(
          arrow::Status::Invalid("a read of ", peer_name_, " is under way; wait for it before the next one"));
    }
    if (auto hit = CYLON_FAILPOINT_STATUS("net.read"); !hit.ok()) {
      return arrow::Future<int64_t>::MakeFinished(hit);
    }
    auto done = arrow::Future<int64_t>::Make();
    read_ = done;
    into_ = into;
    got_ = 0;
    all_ = all;
    TryRead();
    return done;
  }

  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) {
    if (closed_) {
      return arrow::Future<>::MakeFinished(ClosedHere());
    }
    if (write_.has_value()) {
      return arrow::Future<>::MakeFinished(
          arrow::Status::Invalid("a write to ", peer_name_, " is under way; wait for it before the next one"));
    }
    if (auto hit = CYLON_FAILPOINT_STATUS("net.write"); !hit.ok()) {
      return arrow::Future<>::MakeFinished(hit);
    }
    auto done = arrow::Future<>::Make();
    write_ = done;
    parts_ = std::move(parts);
    next_part_ = 0;
    TryWrite();
    return done;
  }

  void EndWrites() {
    if (!closed_) {
      static_cast<void>(::shutdown(socket_.native_handle(), SHUT_WR));  // a broken connection has ended as well
    }
  }

  void Close() {
    if (closed_) {
      return;
    }
    auto self = this->shared_from_this();  // who waits below may let go of the stream
    closed_ = true;
    asio::error_code ignored;
    socket_.close(ignored);
    FinishRead(ClosedHere());
    FinishWrite(ClosedHere());
  }

  Socket& socket() { return socket_; }
  const std::string& peer_name() const { return peer_name_; }
  bool is_loopback() const { return is_loopback_; }

 private:
  arrow::Status ClosedHere() const { return arrow::Status::IOError("connection to ", peer_name_, " is closed"); }

  arrow::Status Failed(const char* what, int error) const {
    if (error == ECONNRESET || error == EPIPE || error == ECONNABORTED) {
      return EndOfStream(peer_name_, /*reset=*/true);
    }
    return arrow::Status::IOError("cannot ", what, " ", peer_name_, ": ", std::strerror(error));
  }

  void FinishRead(arrow::Result<int64_t> result) {
    if (auto future = std::exchange(read_, std::nullopt)) {
      future->MarkFinished(std::move(result));
    }
  }
  void FinishWrite(const arrow::Status& status) {
    if (auto future = std::exchange(write_, std::nullopt)) {
      parts_.clear();
      future->MarkFinished(status);
    }
  }

  void TryRead() {
    int64_t turn = 0;
    while (got_ < into_.size() && turn < kTurnBytes && read_calls_++ < kTurnCalls) {
      const ssize_t count = ::recv(socket_.native_handle(), into_.data() + got_, into_.size() - got_, MSG_DONTWAIT);
      if (count > 0) {
        got_ += static_cast<size_t>(count);
        turn += count;
        if (!all_) {
          return FinishRead(count);
        }
      } else if (count == 0) {
        return FinishRead(all_ ? arrow::Result<int64_t>(EndOfStream(peer_name_)) : arrow::Result<int64_t>(0));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno != EINTR) {
        return FinishRead(Failed("read from", errno));
      }
    }
    if (got_ == into_.size()) {
      return FinishRead(static_cast<int64_t>(got_));
    }
    read_calls_ = 0;
    socket_.async_wait(asio::socket_base::wait_read, [self = this->shared_from_this()](const asio::error_code& error) {
      if (self->closed_) {
        return;
      }
      if (error) {
        return self->FinishRead(self->Failed("read from", error.value()));
      }
      self->TryRead();
    });
  }

  void TryWrite() {
    int64_t turn = 0;
    while (turn < kTurnBytes) {
      std::array<iovec, kGather> gather;
      size_t count = 0;
      for (; next_part_ < parts_.size() && parts_[next_part_].empty(); ++next_part_) {
      }
      for (size_t i = next_part_; i < parts_.size() && count < kGather; ++i) {
        if (!parts_[i].empty()) {
          gather[count++] = {const_cast<uint8_t*>(parts_[i].data()), parts_[i].size()};
        }
      }
      if (count == 0) {
        return FinishWrite(arrow::Status::OK());
      }
      if (const size_t first = CYLON_FAILPOINT_SIZE("net.write", gather[0].iov_len); first < gather[0].iov_len) {
        gather[0].iov_len = first;
        count = 1;
      }
      msghdr message{};
      message.msg_iov = gather.data();
      message.msg_iovlen = count;
      const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) {
        turn += sent;
        Advance(static_cast<size_t>(sent));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno != EINTR) {
        return FinishWrite(Failed("write to", errno));
      }
    }
    socket_.async_wait(asio::socket_base::wait_write, [self = this->shared_from_this()](const asio::error_code& error) {
      if (self->closed_) {
        return;
      }
      if (error) {
        return self->FinishWrite(self->Failed("write to", error.value()));
      }
      self->TryWrite();
    });
  }

  void Advance(size_t sent) {
    while (sent > 0) {
      auto& part = parts_[next_part_];
      const size_t taken = std::min(sent, part.size());
      part = part.subspan(taken);
      sent -= taken;
      if (part.empty()) {
        ++next_part_;
      }
    }
  }

  Socket socket_;
  std::string peer_name_;
  bool is_loopback_ = false;
  bool closed_ = false;

  std::optional<arrow::Future<int64_t>> read_;
  std::span<uint8_t> into_;
  size_t got_ = 0;
  bool all_ = false;
  int read_calls_ = 0;  // since others had their turn

  std::optional<arrow::Future<>> write_;
  std::vector<std::span<const uint8_t>> parts_;
  size_t next_part_ = 0;
};

/// `Socket`: asio's, of the family's protocol, connected.
template <typename Socket>
class SocketStream : public Stream {
 public:
  SocketStream(Socket socket, std::string peer_name, bool is_loopback)
      : state_(std::make_shared<SocketState<Socket>>(std::move(socket), std::move(peer_name), is_loopback)) {}
  ~SocketStream() override { state_->Close(); }

  arrow::Future<> Read(std::span<uint8_t> into) override {
    auto done = state_->Read(into, /*all=*/true);
    return done.is_finished() ? arrow::Future<>::MakeFinished(done.status()) : arrow::Future<>(done);
  }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override { return state_->Read(into, /*all=*/false); }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    return state_->Write(std::move(parts));
  }
  void EndWrites() override { state_->EndWrites(); }
  void Close() override {
    auto state = state_;
    state->Close();
  }
  std::string peer_name() const override { return state_->peer_name(); }
  bool is_loopback() const override { return state_->is_loopback(); }

  /// For what only this family can do; reads and writes of the stream stay its own.
  Socket& socket() { return state_->socket(); }

 private:
  std::shared_ptr<SocketState<Socket>> state_;
};

}  // namespace cylon::internal
