/// What is said on a connection before frames: short messages, within one deadline, to somebody not trusted yet.
#pragma once

#include <optional>
#include <string>

#include "cylon/base/co.h"
#include "cylon/base/error.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// Hellos and reasons are short: a stranger makes nobody hold more.
inline constexpr size_t kMaxConversationMessage = 4096;

/// What a listener says to each message. A refusal has its reason as text.
enum class Verdict : uint8_t { kAccepted = 0, kAuthentication = 1, kProtocol = 2, kInvalid = 3 };
Verdict VerdictOf(const arrow::Status& status);

/// Two bytes of length, then the text.
void PutShortText(std::string* out, std::string_view text);

/// One side's end. A message to the listener is a length (2 bytes) and its bytes; one to the dialler has a verdict
/// (1 byte) before that. At `deadline`, and after kStrangerPatience at the latest, the stream is closed.
class Conversation {
 public:
  Conversation(Stream* stream, Executor& executor, TimePoint deadline);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  std::string peer() const { return stream_->peer_name(); }
  Co<void> Send(std::optional<Verdict> verdict, std::string bytes);
  /// Raw bytes, without a length.
  Co<void> SendRaw(std::string bytes);
  Co<std::string> ReceiveRaw(size_t size);
  Co<std::string> Receive();
  /// The listener's word: its bytes, or its refusal as an error.
  Co<std::string> ReceiveVerdict();
  /// Tells the dialler why it is refused, and reads on until it closes or the farewell is over: closing over unread
  /// bytes would reset the reason away. Errors that a dialler causes by being gone are nobody's.
  Co<void> Refuse(arrow::Status why);

 private:
  arrow::Status Explain(arrow::Status status) const;
  Co<void> Drain();

  Stream* stream_;
  Executor& executor_;
  bool late_ = false;
  std::shared_ptr<Timer> timer_;
};

}  // namespace cylon::internal
