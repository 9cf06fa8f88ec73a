// What is said on a connection before frames.
#include "cylon/wire/conversation.h"

#include <algorithm>
#include <array>

#include "cylon/wire/strangers.h"

namespace cylon::internal {

namespace {

/// After a refusal: this long, and this much, is read.
constexpr auto kFarewell = std::chrono::seconds(1);
constexpr size_t kFarewellBytes = 32 << 10;

arrow::Status StatusOf(Verdict verdict, const std::string& reason) {
  switch (verdict) {
    case Verdict::kAuthentication:
      return AuthenticationError(reason);
    case Verdict::kInvalid:
      return arrow::Status::Invalid(reason);
    default:
      return ProtocolError(reason);
  }
}

}  // namespace

Verdict VerdictOf(const arrow::Status& status) {
  return IsError(status, ErrorKind::kAuthentication) ? Verdict::kAuthentication
         : status.IsInvalid()                        ? Verdict::kInvalid
                                                     : Verdict::kProtocol;
}

void PutShortText(std::string* out, std::string_view text) {
  out->push_back(static_cast<char>(text.size() & 0xff));
  out->push_back(static_cast<char>(text.size() >> 8));
  out->append(text);
}

Conversation::Conversation(Stream* stream, Executor& executor, TimePoint deadline)
    : stream_(stream), executor_(executor) {
  timer_ = executor.PostAt(std::min(deadline, executor.Now() + kStrangerPatience), [this] {
    late_ = true;
    stream_->Close();
  });
}

Conversation::~Conversation() { timer_->Cancel(); }

Co<void> Conversation::Send(std::optional<Verdict> verdict, std::string bytes) {
  std::string message;
  if (verdict) {
    message.push_back(static_cast<char>(*verdict));
  }
  PutShortText(&message, std::string_view(bytes).substr(0, kMaxConversationMessage));
  auto send = SendRaw(std::move(message));
  co_return co_await send;
}

Co<void> Conversation::SendRaw(std::string bytes) {
  std::vector<std::span<const uint8_t>> parts;
  parts.emplace_back(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  auto write = stream_->Write(std::move(parts));
  auto status = co_await write;
  co_return Explain(std::move(status));
}

Co<std::string> Conversation::ReceiveRaw(size_t size) {
  std::string bytes(size, '\0');
  auto read = stream_->Read({reinterpret_cast<uint8_t*>(bytes.data()), size});
  auto status = co_await read;
  CYLON_CO_RETURN_NOT_OK(Explain(std::move(status)));
  co_return bytes;
}

Co<std::string> Conversation::Receive() {
  auto read_length = ReceiveRaw(2);
  CYLON_CO_ASSIGN_OR_RETURN(const std::string length, co_await read_length);
  const size_t size = static_cast<size_t>(static_cast<uint8_t>(length[0]) | static_cast<uint8_t>(length[1]) << 8);
  if (size > kMaxConversationMessage) {
    co_return ProtocolError(peer() + " announced a greeting of " + std::to_string(size) + " bytes; at most " +
                            std::to_string(kMaxConversationMessage) + " are read from a stranger");
  }
  auto read = ReceiveRaw(size);
  co_return co_await read;
}

Co<std::string> Conversation::ReceiveVerdict() {
  auto read = ReceiveRaw(1);
  CYLON_CO_ASSIGN_OR_RETURN(const std::string verdict, co_await read);
  auto receive = Receive();
  CYLON_CO_ASSIGN_OR_RETURN(std::string bytes, co_await receive);
  if (verdict[0] != static_cast<char>(Verdict::kAccepted)) {
    co_return StatusOf(static_cast<Verdict>(verdict[0]), peer() + " refused the connection: " + bytes);
  }
  co_return bytes;
}

Co<void> Conversation::Refuse(arrow::Status why) {
  auto refuse = Send(VerdictOf(why), why.message());
  auto told = co_await refuse;
  if (told.ok()) {
    auto drain = Drain();
    told = co_await drain;
  }
  co_return told;
}

Co<void> Conversation::Drain() {
  timer_->Cancel();
  timer_ = executor_.PostAt(executor_.Now() + kFarewell, [this] { stream_->Close(); });
  std::vector<uint8_t> buffer(kMaxConversationMessage);
  size_t total = 0;
  while (total < kFarewellBytes) {
    auto read = stream_->ReadSome(buffer);
    auto got = co_await read;
    if (!got.ok() || *got == 0) {
      break;
    }
    total += static_cast<size_t>(*got);
  }
  co_return arrow::Status::OK();
}

arrow::Status Conversation::Explain(arrow::Status status) const {
  if (late_) {
    return DeadlineError(peer() + " did not finish the handshake in time");
  }
  if (!status.ok()) {
    return status.WithMessage(peer(), " ended the handshake: ", status.message());
  }
  return status;
}

}  // namespace cylon::internal
