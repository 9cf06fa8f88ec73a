/// Byte streams in memory: what a fuzz target reads from, and pipes between two ends.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cylon/wire/end_of_stream.h"
#include "cylon/wire/stream.h"

namespace cylon::fuzz {

/// One end. Bytes come from Feed, and what is written goes to a function. Reads wait until there is enough.
class MemoryStream : public Stream {
 public:
  using Written = std::function<void(std::string_view)>;
  explicit MemoryStream(Written written = [](std::string_view) {}) : written_(std::move(written)) {}
  ~MemoryStream() override { Close(); }

  /// Bytes from the other side.
  void Feed(std::string_view bytes) {
    if (!over_) {
      bytes_.append(bytes);
      Serve();
    }
  }
  /// The other side closed.
  void End() {
    over_ = true;
    Serve();
  }

  arrow::Future<> Read(std::span<uint8_t> into) override {
    whole_ = arrow::Future<>::Make();
    auto future = *whole_;
    into_ = into;
    Serve();
    return future;
  }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override {
    some_ = arrow::Future<int64_t>::Make();
    auto future = *some_;
    into_ = into;
    Serve();
    return future;
  }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    if (closed_) {
      return arrow::Future<>::MakeFinished(EndOfStream(peer_name()));
    }
    std::string bytes;
    for (const auto part : parts) {
      bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    written_(bytes);
    return arrow::Future<>::MakeFinished();
  }
  void Close() override {
    if (!std::exchange(closed_, true)) {
      over_ = true;
      bytes_.clear();
      at_ = 0;
      if (auto on_close = std::exchange(on_close_, {})) {
        on_close();
      }
      Serve();  // who is told may let go of this
    }
  }
  void OnClose(std::function<void()> on_close) { on_close_ = std::move(on_close); }
  bool closed() const { return closed_; }
  /// Bytes that this end has read.
  size_t taken() const { return taken_; }

  std::string peer_name() const override { return "127.0.0.1:4711"; }
  bool is_loopback() const override { return true; }

 private:
  size_t ready() const { return bytes_.size() - at_; }
  void Take(size_t count) {
    std::copy_n(bytes_.data() + at_, count, into_.data());
    at_ += count;
    taken_ += count;
    if (at_ == bytes_.size()) {
      bytes_.clear();
      at_ = 0;
    }
  }
  void Serve() {
    if (whole_ && (ready() >= into_.size() || over_)) {
      auto future = *std::exchange(whole_, std::nullopt);
      const bool enough = ready() >= into_.size() && !closed_;
      if (enough) {
        Take(into_.size());
      }
      future.MarkFinished(enough ? arrow::Status::OK() : EndOfStream(peer_name()));
    } else if (some_ && (ready() > 0 || over_)) {
      auto future = *std::exchange(some_, std::nullopt);
      // As often as not in two pieces, so that what reads ahead meets the border.
      const size_t piece = std::min(into_.size(), ready());
      const size_t taken = piece > 64 && (turns_++ & 1) == 0 ? piece / 3 : piece;
      Take(taken);
      future.MarkFinished(static_cast<int64_t>(taken));
    }
  }

  Written written_;
  std::function<void()> on_close_;
  std::string bytes_;
  size_t at_ = 0;
  size_t taken_ = 0;
  bool over_ = false;
  bool closed_ = false;
  unsigned turns_ = 0;
  std::span<uint8_t> into_;
  std::optional<arrow::Future<>> whole_;
  std::optional<arrow::Future<int64_t>> some_;
};

}  // namespace cylon::fuzz
