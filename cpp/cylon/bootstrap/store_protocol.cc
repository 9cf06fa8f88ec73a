// Frames between a store's client and server.
#include "cylon/bootstrap/store_protocol.h"

#include "cylon/base/error.h"

namespace cylon {

Co<std::string> ReadStoreFrame(Stream* stream) {
  std::string length(4, '\0');
  auto reading_length = stream->Read({reinterpret_cast<uint8_t*>(length.data()), length.size()});
  arrow::Status status = co_await reading_length;
  CYLON_CO_RETURN_NOT_OK(status);
  const auto size = ByteReader(length).Number<uint32_t>();
  if (size > kMaxStoreFrame) {
    co_return ProtocolError(stream->peer_name() + " announced a store message of " + std::to_string(size) +
                            " bytes; at most " + std::to_string(kMaxStoreFrame) + " are read");
  }
  std::string payload(size, '\0');
  auto reading = stream->Read({reinterpret_cast<uint8_t*>(payload.data()), payload.size()});
  status = co_await reading;
  CYLON_CO_RETURN_NOT_OK(status);
  co_return payload;
}

void StoreOutbox::Push(const std::string& payload) {
  ByteWriter frame;
  frame.Text(payload);
  bytes_ += frame.bytes().size();
  frames_.push_back(frame.Take());
  if (!running_) {
    running_ = true;
    internal::DriveVoid(Run(shared_from_this()), arrow::Future<>::Make());
  }
}

Co<void> StoreOutbox::Run(std::shared_ptr<StoreOutbox> self) {
  arrow::Status status;
  while (!self->frames_.empty() && self->stream_ != nullptr) {
    const std::string frame = std::move(self->frames_.front());
    self->frames_.pop_front();
    std::vector<std::span<const uint8_t>> parts;
    parts.emplace_back(reinterpret_cast<const uint8_t*>(frame.data()), frame.size());
    auto writing = self->stream_->Write(std::move(parts));
    status = co_await writing;
    self->bytes_ -= frame.size();
    if (!status.ok()) {
      break;
    }
  }
  self->running_ = false;
  if (!status.ok() && self->stream_ != nullptr) {
    self->frames_.clear();
    self->stream_->Close();
  }
  co_return status;
}

}  // namespace cylon
