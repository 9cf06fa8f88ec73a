/// The frames between two ranks, over one connection after another: nothing is lost or doubled where one ends.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/net/transport.h"
#include "cylon/wire/frame.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// Starts a coroutine that tells by itself what comes of it.
inline void Detach(Executor& executor, Co<void> co) { static_cast<void>(Spawn(executor, std::move(co))); }

/// What a link tells the mesh.
class LinkOwner {
 public:
  virtual ~LinkOwner() = default;
  virtual arrow::Result<Buffers> AllocateFor(Rank peer, const ChannelId& channel, const InlineBytes& header,
                                             const Sizes& sizes) = 0;
  virtual void Arrived(Rank peer, Message message) = 0;
  /// The buffers of message `id` of Queue may be reused. May be told more than once.
  virtual void Sent(Rank peer, uint64_t id) = 0;
  /// The connection has ended without a goodbye; what the peer has not acknowledged waits for the next one.
  virtual void Broke(Rank peer, const arrow::Status& cause) = 0;
  /// The link is over, once: OK where the peer said goodbye, else how it broke the rules.
  virtual void Ended(Rank peer, const arrow::Status& cause) = 0;
};

/// One rank's end of a link. All calls in tasks of the executor.
///
/// Messages and the goodbye are numbered; each end keeps those that it has sent until the other has acknowledged them,
/// and sends them again over the next connection from the first one that the other has not received. A message of up to
/// kCopiedBytes is copied, so that its own buffers are free when it has left; a larger one's are free when it is
/// acknowledged. Acknowledgements ride on whatever goes the other way, else on a frame of their own: every kAckBytes,
/// and when nothing more comes while a sender waits for one. Control overtakes what has not left yet.
class Link : public std::enable_shared_from_this<Link> {
 public:
  /// `owner` is told nothing after Close.
  Link(Executor& executor, LinkOwner* owner, Rank peer, uint32_t epoch);

  /// From now on the owner takes messages; until then nothing is read.
  void Start();
  void Queue(uint64_t id, Message message);
  /// The last one; nothing is queued after it.
  void QueueGoodbye();
  /// Asks for a sign of life, where there is a connection.
  void Ping();

  /// From now on `stream` carries the frames; the peer has received those up to `peer_received`. ProtocolError where
  /// that cannot be. There is no other connection: Detach comes first.
  arrow::Status Attach(std::unique_ptr<Stream> stream, uint64_t peer_received);
  /// Lets go of the connection, where there is one, without telling the owner.
  void Detach();
  /// The connection is of no use: closes it and tells the owner so.
  void Break(const arrow::Status& cause);
  /// Over for good. The owner hears nothing more.
  void Close();

  bool connected() const { return connection_ != nullptr; }
  /// The number of the last frame that is here whole. Stands while there is no connection.
  uint64_t received() const { return received_; }
  /// When the peer was last heard.
  TimePoint heard() const { return heard_; }
  /// The silence until now does not count.
  void ForgetSilence() { heard_ = executor_.Now(); }

 private:
  enum FrameType : uint8_t { kMessage = 1, kGoodbye = 2, kAcknowledge = 3, kPing = 4, kPong = 5 };
  struct Queued {
    uint64_t id;
    FrameType type;
    Message message;
  };
  using Bytes = std::shared_ptr<std::vector<uint8_t>>;
  /// A frame that was sent: what it takes to send it again.
  struct Kept {
    uint64_t id;
    uint64_t sequence;
    Bytes bytes;  // of a whole batch: this frame's are [begin, end)
    size_t begin;
    size_t end;
    Buffers segments;  // go out behind those bytes; none where they were copied
  };
  struct Connection {
    explicit Connection(std::unique_ptr<Stream> from);
    std::unique_ptr<Stream> stream;
    bool reading = false;
    bool writing = false;
    arrow::Future<> turn;         // which reading waits for, when it lets writing go first
    arrow::Status failure;        // of the stream, not of what came over it
    std::vector<uint8_t> buffer;  // bytes read ahead: [begin, end)
    size_t begin = 0;
    size_t end = 0;
  };
  /// A message that is being read; half of it may have come over an earlier connection.
  struct Landing {
    uint64_t sequence;
    Message message;
    Sizes sizes;
  };
  struct Batch;

  static void EndTurn(arrow::Future<>& turn);
  void Kick();
  bool HasWork() const;
  void Fill(Batch* batch);
  void Append(Batch* batch, Queued queued);
  void AppendBare(Batch* batch, FrameType type);
  FrameHeader MakeHeader(FrameType type, uint64_t sequence);
  static Co<void> WriteLoop(std::shared_ptr<Link> self, std::shared_ptr<Connection> connection);

  static Co<void> ReadLoop(std::shared_ptr<Link> self, std::shared_ptr<Connection> connection);
  Co<void> ReadFrames(Connection* connection);
  Co<void> ReadMessage(Connection* connection, FrameHeader header);
  Co<void> Read(Connection* connection, std::span<uint8_t> into);
  arrow::Status CheckFrame(const FrameHeader& header) const;
  arrow::Result<Sizes> DecodeSizes(const FrameHeader& header, std::span<const uint8_t> bytes) const;
  arrow::Status Land(const FrameHeader& header, InlineBytes inline_bytes, Sizes sizes);
  arrow::Status TakeAcknowledgement(uint64_t acknowledged);
  void Received(const FrameHeader& header);
  void EndIfDone();
  void End(const arrow::Status& cause);
  arrow::Status BadFrame(const std::string& what) const;

  Executor& executor_;
  LinkOwner* owner_;
  const Rank peer_;
  const uint32_t epoch_;

  bool started_ = false;
  bool ended_ = false;
  bool said_goodbye_ = false;  // queued, that is
  bool heard_goodbye_ = false;
  std::shared_ptr<Connection> connection_;
  TimePoint heard_;

  std::deque<Queued> control_;
  std::deque<Queued> queue_;
  std::deque<Kept> kept_;    // sent, oldest first, and not acknowledged
  size_t written_here_ = 0;  // of kept_: how many have left over this connection
  uint64_t sent_ = 0;        // number of the last frame that was sent
  bool ping_due_ = false;
  bool pong_due_ = false;

  std::optional<Landing> landing_;
  uint64_t received_ = 0;     // number of the last frame that is here whole
  uint64_t told_ = 0;         // what the peer was last told of that
  int64_t untold_bytes_ = 0;  // came since then
  bool awaited_ = false;      // a sender waits to hear of it
  bool tell_ = false;         // now
};

}  // namespace cylon::internal
