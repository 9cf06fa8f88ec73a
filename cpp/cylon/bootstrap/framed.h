/// Frames of a 4-byte length over a stream: what the stores' and the rendezvous' protocols are made of.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "cylon/base/co.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// The next frame's bytes. ProtocolError, which calls it a `what`, where it is longer than `most`, before memory is
/// taken.
Co<std::string> ReadFramed(Stream* stream, size_t most, const char* what);

/// Frames on their way out of one stream, one write at a time. It lives as long as it writes. `total`, where there is
/// one, counts what all outboxes that share it hold.
class FramedOutbox : public std::enable_shared_from_this<FramedOutbox> {
 public:
  explicit FramedOutbox(Stream* stream, std::shared_ptr<size_t> total = nullptr)
      : stream_(stream), total_(std::move(total)) {}
  ~FramedOutbox() { Release(bytes_); }
  FramedOutbox(const FramedOutbox&) = delete;
  FramedOutbox& operator=(const FramedOutbox&) = delete;
  /// Queues `payload` as a frame. A failure to write closes the stream, so its reader ends.
  void Push(const std::string& payload);
  size_t bytes() const { return bytes_; }
  /// The stream is about to go.
  void Detach() { stream_ = nullptr; }

 private:
  static Co<void> Run(std::shared_ptr<FramedOutbox> self);
  void Release(size_t bytes);

  Stream* stream_;
  std::shared_ptr<size_t> total_;
  std::deque<std::string> frames_;
  size_t bytes_ = 0;
  bool running_ = false;
};

}  // namespace cylon
