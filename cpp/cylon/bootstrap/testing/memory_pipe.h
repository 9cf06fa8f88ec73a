/// For tests: two connected streams in memory that hold as little as sockets do, and reset as they do.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cylon/wire/end_of_stream.h"
#include "cylon/wire/stream.h"

namespace cylon::testing {

/// What both ends share: a buffer of `capacity` bytes in each direction. Closing an end lets the other read what it was
/// sent, unless the closed one had not read all that it was sent: then what is under way is lost both ways.
class MemoryPipe {
 public:
  explicit MemoryPipe(size_t capacity) : capacity_(capacity) {}

  arrow::Future<int64_t> Read(size_t end, std::span<uint8_t> into, bool all) {
    auto& side = sides_[end];
    if (side.closed) {
      return Lost();
    }
    auto done = arrow::Future<int64_t>::Make();
    side.read = done;
    side.into = into;
    side.all = all;
    side.got = 0;
    Move(end);
    return done;
  }
  arrow::Future<> Write(size_t end, std::vector<std::span<const uint8_t>> parts) {
    auto& side = sides_[end];
    if (side.closed || sides_[1 - end].closed) {
      return arrow::Future<>::MakeFinished(Lost());
    }
    for (const auto part : parts) {
      side.unsent.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    auto done = arrow::Future<>::Make();
    side.write = done;
    Move(1 - end);
    return done;
  }
  void Close(size_t end) {
    auto& side = sides_[end];
    auto& other = sides_[1 - end];
    if (std::exchange(side.closed, true)) {
      return;
    }
    if (!side.arrived.empty() || !other.unsent.empty()) {
      other.arrived.clear();
    }
    for (auto* each : {&side, &other}) {
      each->unsent.clear();
      if (auto write = std::exchange(each->write, std::nullopt)) {
        write->MarkFinished(Lost());
      }
    }
    if (auto read = std::exchange(side.read, std::nullopt)) {
      read->MarkFinished(Lost());
    }
    Move(1 - end);
  }
  void EndWrites(size_t end) {
    sides_[end].writes_ended = true;
    Move(1 - end);
  }
  /// What has come for `end` and was not read.
  size_t unread(size_t end) const { return sides_[end].arrived.size(); }

 private:
  struct Side {
    std::string arrived;
    std::string unsent;
    bool closed = false;
    bool writes_ended = false;
    bool all = false;
    size_t got = 0;
    std::span<uint8_t> into;
    std::optional<arrow::Future<int64_t>> read;
    std::optional<arrow::Future<>> write;
  };

  static arrow::Status Lost() { return EndOfStream("memory"); }
  /// Bytes for `end` go as far as they can.
  void Move(size_t end) {
    auto& side = sides_[end];
    auto& writer = sides_[1 - end];
    while (true) {
      const size_t sent = std::min(writer.unsent.size(), capacity_ - side.arrived.size());
      side.arrived.append(writer.unsent, 0, sent);
      writer.unsent.erase(0, sent);
      const size_t taken = side.read ? std::min(side.into.size() - side.got, side.arrived.size()) : 0;
      std::copy_n(side.arrived.data(), taken, side.into.data() + side.got);
      side.arrived.erase(0, taken);
      side.got += taken;
      if (sent == 0 && taken == 0) {
        break;
      }
    }
    std::optional<arrow::Future<>> write;
    if (writer.unsent.empty()) {
      write = std::exchange(writer.write, std::nullopt);
    }
    const bool full = side.got == side.into.size() || (!side.all && side.got > 0);
    if (side.read && (full || writer.closed || (writer.writes_ended && writer.unsent.empty()))) {
      auto read = *std::exchange(side.read, std::nullopt);
      if (full || !side.all) {
        read.MarkFinished(static_cast<int64_t>(side.got));
      } else {
        read.MarkFinished(Lost());
      }
    }
    if (write) {
      write->MarkFinished();
    }
  }

  const size_t capacity_;
  std::array<Side, 2> sides_;
};

class MemoryPipeEnd : public Stream {
 public:
  MemoryPipeEnd(std::shared_ptr<MemoryPipe> pipe, size_t end) : pipe_(std::move(pipe)), end_(end) {}
  ~MemoryPipeEnd() override { pipe_->Close(end_); }
  MemoryPipeEnd(const MemoryPipeEnd&) = delete;
  MemoryPipeEnd& operator=(const MemoryPipeEnd&) = delete;

  arrow::Future<> Read(std::span<uint8_t> into) override {
    const auto pipe = pipe_;
    return arrow::Future<>(pipe->Read(end_, into, /*all=*/true));
  }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override {
    const auto pipe = pipe_;
    return pipe->Read(end_, into, /*all=*/false);
  }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    const auto pipe = pipe_;
    return pipe->Write(end_, std::move(parts));
  }
  void EndWrites() override {
    const auto pipe = pipe_;
    pipe->EndWrites(end_);
  }
  void Close() override {
    const auto pipe = pipe_;
    pipe->Close(end_);
  }
  std::string peer_name() const override { return "127.0.0.1:4711"; }
  bool is_loopback() const override { return true; }

 private:
  std::shared_ptr<MemoryPipe> pipe_;
  size_t end_;
};

/// Both ends of a new pipe, and the pipe itself.
struct PipeEnds {
  explicit PipeEnds(size_t capacity = 64 << 10)
      : pipe(std::make_shared<MemoryPipe>(capacity)),
        near(std::make_unique<MemoryPipeEnd>(pipe, 0)),
        far(std::make_unique<MemoryPipeEnd>(pipe, 1)) {}
  std::shared_ptr<MemoryPipe> pipe;
  std::unique_ptr<Stream> near;
  std::unique_ptr<Stream> far;
};

}  // namespace cylon::testing
