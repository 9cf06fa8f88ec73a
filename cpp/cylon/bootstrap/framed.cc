// Frames of a 4-byte length over a stream.
#include "cylon/bootstrap/framed.h"

#include "cylon/base/error.h"
#include "cylon/wire/bytes.h"

namespace cylon {

Co<std::string> ReadFramed(Stream* stream, size_t most, const char* what) {
  std::string length(4, '\0');
  auto reading_length = stream->Read({reinterpret_cast<uint8_t*>(length.data()), length.size()});
  arrow::Status status = co_await reading_length;
  CYLON_CO_RETURN_NOT_OK(status);
  const auto size = ByteReader(length).Number<uint32_t>();
  if (size > most) {
    co_return ProtocolError(stream->peer_name() + " announced a " + what + " of " + std::to_string(size) +
                            " bytes; at most " + std::to_string(most) + " are read");
  }
  std::string payload(size, '\0');
  auto reading = stream->Read({reinterpret_cast<uint8_t*>(payload.data()), payload.size()});
  status = co_await reading;
  CYLON_CO_RETURN_NOT_OK(status);
  co_return payload;
}

void FramedOutbox::Push(const std::string& payload) {
  ByteWriter frame;
  frame.Text(payload);
  bytes_ += frame.bytes().size();
  if (total_) {
    *total_ += frame.bytes().size();
  }
  frames_.push_back(frame.Take());
  if (!running_) {
    running_ = true;
    internal::DriveVoid(Run(shared_from_this()), arrow::Future<>::Make());
  }
}

Co<void> FramedOutbox::Run(std::shared_ptr<FramedOutbox> self) {
  arrow::Status status;
  while (!self->frames_.empty() && self->stream_ != nullptr) {
    const std::string frame = std::move(self->frames_.front());
    self->frames_.pop_front();
    std::vector<std::span<const uint8_t>> parts;
    parts.emplace_back(reinterpret_cast<const uint8_t*>(frame.data()), frame.size());
    auto writing = self->stream_->Write(std::move(parts));
    status = co_await writing;
    self->Release(frame.size());
    if (!status.ok()) {
      break;
    }
  }
  self->running_ = false;
  if (!status.ok() && self->stream_ != nullptr) {
    self->frames_.clear();
    self->Release(self->bytes_);
    self->stream_->Close();
  }
  co_return status;
}

void FramedOutbox::Release(size_t bytes) {
  bytes_ -= bytes;
  if (total_) {
    *total_ -= bytes;
  }
}

}  // namespace cylon
