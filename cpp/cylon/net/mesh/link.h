/// One authenticated connection between two ranks: frames out, frames in.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/net/transport.h"
#include "cylon/wire/frame.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// Starts a coroutine that tells by itself what comes of it.
inline void Detach(Executor& executor, Co<void> co) { static_cast<void>(Spawn(executor, std::move(co))); }

/// What a connection tells the mesh.
class LinkOwner {
 public:
  virtual ~LinkOwner() = default;
  virtual arrow::Result<Buffers> AllocateFor(Rank peer, const ChannelId& channel, const InlineBytes& header,
                                             const Sizes& sizes) = 0;
  virtual void Arrived(Rank peer, Message message) = 0;
  /// Message `id` of Queue has left, or cannot.
  virtual void Left(Rank peer, uint64_t id, const arrow::Status& status) = 0;
  /// The connection is over, once: OK where the peer said goodbye.
  virtual void Ended(Rank peer, const arrow::Status& cause) = 0;
};

/// All calls in tasks of the executor. Its two loops keep it alive until the stream is closed.
class Link : public std::enable_shared_from_this<Link> {
 public:
  /// `owner` is told nothing after Disown.
  Link(std::unique_ptr<Stream> stream, Executor& executor, LinkOwner* owner, Rank peer, uint32_t epoch);

  void Start();
  void Queue(uint64_t id, Message message);
  /// A last frame; nothing is queued after it.
  void QueueGoodbye();
  bool idle() const { return queue_.empty() && !writing_; }
  void Disown() { owner_ = nullptr; }
  void Close();

 private:
  enum FrameType : uint8_t { kMessage = 1, kGoodbye = 2 };
  struct Queued {
    uint64_t id;
    bool goodbye;
    Message message;
  };

  static Co<void> WriteLoop(std::shared_ptr<Link> self);
  static Co<void> ReadLoop(std::shared_ptr<Link> self);
  Co<void> ReadFrames();
  Co<void> ReadMessage(FrameHeader header);
  Co<void> Read(std::span<uint8_t> into);
  void AddParts(const Queued& queued, std::vector<std::vector<uint8_t>>* prefixes,
                std::vector<std::span<const uint8_t>>* parts);
  void End(const arrow::Status& cause);

  std::unique_ptr<Stream> stream_;
  Executor& executor_;
  LinkOwner* owner_;
  const Rank peer_;
  const uint32_t epoch_;

  std::deque<Queued> queue_;
  bool writing_ = false;
  bool ended_ = false;
  bool heard_goodbye_ = false;
  uint64_t sent_ = 0;      // sequence of the last frame that was built
  uint64_t received_ = 0;  // sequence of the last frame that was read

  std::vector<uint8_t> buffer_;  // bytes read ahead: [begin_, end_)
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace cylon::internal
