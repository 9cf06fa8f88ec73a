// Frames between a rendezvous server and its clients.
#include "cylon/bootstrap/rendezvous_protocol.h"

#include <algorithm>

#include "cylon/base/error.h"
#include "cylon/wire/bytes.h"

namespace cylon {

namespace {

void PutSeen(const SeenAddresses& seen, ByteWriter* out) {
  out->Number(static_cast<uint8_t>(seen.symmetric ? 1 : 0));
  out->Number(static_cast<uint8_t>(seen.addresses.size()));
  for (const auto& address : seen.addresses) {
    out->Text(address.ToString());
  }
}

bool TakeSeen(ByteReader* in, SeenAddresses* seen) {
  const auto symmetric = in->Number<uint8_t>();
  const size_t count = in->Number<uint8_t>();
  if (symmetric > 1 || count > kMaxSeenAddresses) {
    return false;
  }
  seen->symmetric = symmetric == 1;
  for (size_t i = 0; i < count && in->ok(); ++i) {
    auto address = HostPort::Parse(in->Text());
    if (!address.ok()) {
      return false;
    }
    seen->addresses.push_back(*std::move(address));
  }
  return in->ok();
}

bool TakeName(ByteReader* in, std::string* name) {
  *name = in->Raw(kCourierNameBytes);
  return IsCourierName(*name);
}

/// The rest is a status, or nothing where all is well.
bool TakeStatus(ByteReader* in, arrow::Status* status) {
  const auto bytes = in->Raw(in->rest().size());
  return bytes.empty() || (DecodeStatus(bytes, status).ok() && !status->ok());
}

bool Take(ByteReader* in, RendezvousFrame* frame) {
  switch (frame->op) {
    case RendezvousOp::kHello:
      if (!TakeName(in, &frame->name)) {
        return false;
      }
      frame->nonce = in->Raw(kRendezvousNonceBytes);
      return in->done();
    case RendezvousOp::kWelcome: {
      frame->nonce = in->Raw(kRendezvousNonceBytes);
      const size_t count = in->Number<uint8_t>();
      for (size_t i = 0; i < count && in->ok(); ++i) {
        frame->ports.push_back(in->Number<uint16_t>());
      }
      return in->done() && count < kMaxSeenAddresses;
    }
    case RendezvousOp::kGone:
      return TakeStatus(in, &frame->status) && !frame->status.ok();
    case RendezvousOp::kPing:
      return in->done();
    case RendezvousOp::kTell:
      frame->id = in->Number<uint64_t>();
      if (!TakeName(in, &frame->name)) {
        return false;
      }
      frame->patience_ms = in->Number<uint32_t>();
      frame->text = in->Raw(in->rest().size());
      return in->done();
    case RendezvousOp::kTold:
      frame->id = in->Number<uint64_t>();
      return in->ok() && TakeStatus(in, &frame->status);
    case RendezvousOp::kLetter:
      if (!TakeName(in, &frame->name)) {
        return false;
      }
      frame->id = in->Number<uint64_t>();
      if (!TakeSeen(in, &frame->seen) || in->rest().size() > Courier::kMaxLetter) {
        return false;
      }
      frame->text = in->Raw(in->rest().size());
      return in->done();
    case RendezvousOp::kDraw:
      frame->id = in->Number<uint64_t>();
      return in->done();
    case RendezvousOp::kDrawn:
      frame->id = in->Number<uint64_t>();
      frame->nonce = in->Raw(kRendezvousNonceBytes);
      return in->done();
    case RendezvousOp::kAskRelay:
      if (!TakeName(in, &frame->name) || !TakeName(in, &frame->to)) {
        return false;
      }
      frame->nonce = in->Raw(kRendezvousNonceBytes);
      frame->patience_ms = in->Number<uint32_t>();
      return in->done();
    case RendezvousOp::kJoined:
      return TakeStatus(in, &frame->status);
  }
  return false;
}

}  // namespace

std::string EncodeRendezvousFrame(const RendezvousFrame& frame) {
  ByteWriter out;
  out.Number(static_cast<uint8_t>(frame.op));
  const auto put_status = [&] {
    if (!frame.status.ok()) {
      out.Raw(EncodeStatus(frame.status));
    }
  };
  switch (frame.op) {
    case RendezvousOp::kHello:
      out.Raw(frame.name);
      out.Raw(frame.nonce);
      break;
    case RendezvousOp::kWelcome:
      out.Raw(frame.nonce);
      out.Number(static_cast<uint8_t>(frame.ports.size()));
      for (const auto port : frame.ports) {
        out.Number(port);
      }
      break;
    case RendezvousOp::kGone:
    case RendezvousOp::kJoined:
      put_status();
      break;
    case RendezvousOp::kPing:
      break;
    case RendezvousOp::kTell:
      out.Number(frame.id);
      out.Raw(frame.name);
      out.Number(frame.patience_ms);
      out.Raw(frame.text);
      break;
    case RendezvousOp::kTold:
      out.Number(frame.id);
      put_status();
      break;
    case RendezvousOp::kLetter:
      out.Raw(frame.name);
      out.Number(frame.id);
      PutSeen(frame.seen, &out);
      out.Raw(frame.text);
      break;
    case RendezvousOp::kDraw:
      out.Number(frame.id);
      break;
    case RendezvousOp::kDrawn:
      out.Number(frame.id);
      out.Raw(frame.nonce);
      break;
    case RendezvousOp::kAskRelay:
      out.Raw(frame.name);
      out.Raw(frame.to);
      out.Raw(frame.nonce);
      out.Number(frame.patience_ms);
      break;
  }
  return out.Take();
}

arrow::Result<RendezvousFrame> DecodeRendezvousFrame(std::string_view bytes, const std::string& peer) {
  ByteReader in(bytes);
  RendezvousFrame frame;
  const auto op = in.Number<uint8_t>();
  frame.op = static_cast<RendezvousOp>(op);
  if (!in.ok() || !Take(&in, &frame)) {
    return ProtocolError(peer + " sent a rendezvous message of kind " + std::to_string(op) + " and " +
                         std::to_string(bytes.size()) + " bytes that cannot be read; run the same version everywhere");
  }
  return frame;
}

Co<RendezvousFrame> ReadRendezvousFrame(Stream* stream) {
  auto reading = ReadFramed(stream, kMaxRendezvousFrame, "rendezvous message");
  CYLON_CO_ASSIGN_OR_RETURN(const std::string bytes, co_await reading);
  co_return DecodeRendezvousFrame(bytes, stream->peer_name());
}

bool IsCourierName(std::string_view name) {
  return name.size() == kCourierNameBytes && std::all_of(name.begin(), name.end(), [](char digit) {
           return (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f');
         });
}

void AddSeen(const HostPort& address, SeenAddresses* seen) {
  if (std::find(seen->addresses.begin(), seen->addresses.end(), address) == seen->addresses.end()) {
    seen->addresses.push_back(address);
  }
  seen->symmetric = seen->addresses.size() > 1;
}

}  // namespace cylon
