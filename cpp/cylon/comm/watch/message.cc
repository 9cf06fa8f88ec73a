// What watches say to each other, as bytes.
#include "cylon/comm/watch/message.h"

#include <algorithm>

#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

constexpr uint8_t kWatchMark = 'W';

int64_t Microseconds(Duration time) { return std::chrono::duration_cast<std::chrono::microseconds>(time).count(); }

void PutReport(const Report& report, ByteWriter* out) {
  out->Number(static_cast<uint8_t>(report.waits));
  out->Number(Microseconds(report.since));
  out->Number(report.sequence);
  out->Number(report.bytes_sent);
  out->Number(report.bytes_received);
  out->Text(std::string_view(report.operation).substr(0, kMaxOperationText));
}

/// A time in microseconds. `right` is false where it is more than a year, or none: what is computed with it would
/// overflow.
Duration TakeDuration(ByteReader* in, bool* right) {
  const auto time = in->Number<int64_t>();
  const bool fits = time >= 0 && time < int64_t{365} * 24 * 3600 * 1000000;
  *right = *right && fits;
  return std::chrono::microseconds(fits ? time : 0);
}

Report TakeReport(ByteReader* in, bool* right) {
  Report report;
  report.waits = in->Number<uint8_t>() != 0;
  report.since = TakeDuration(in, right);
  report.sequence = in->Number<uint64_t>();
  report.bytes_sent = in->Number<int64_t>();
  report.bytes_received = in->Number<int64_t>();
  report.operation = in->Text();
  return report;
}

}  // namespace

std::string Encode(const WatchMessage& message) {
  ByteWriter body;
  switch (message.type) {
    case WatchMessage::Type::kBeat:
      body.Number(message.counter);
      PutReport(message.report, &body);
      break;
    case WatchMessage::Type::kQuestion:
      body.Number(message.about);
      body.Number(message.stamp.time_since_epoch().count());
      break;
    case WatchMessage::Type::kAnswer:
      body.Number(message.about);
      body.Number(message.stamp.time_since_epoch().count());
      body.Number(static_cast<uint8_t>(message.testimony));
      body.Number(Microseconds(message.age));
      body.Number(static_cast<uint8_t>(message.has_report));
      if (message.has_report) {
        PutReport(message.report, &body);
      }
      break;
    case WatchMessage::Type::kFlood:
      body.Raw(message.text);
      break;
    case WatchMessage::Type::kGoodbye:
      break;
  }
  ByteWriter out;
  out.Number(kWatchMark);
  out.Number(static_cast<uint8_t>(message.type));
  out.Number(static_cast<uint16_t>(body.bytes().size()));
  out.Raw(body.bytes());
  return out.Take();
}

arrow::Result<WatchHeader> DecodeWatchHeader(std::span<const uint8_t, kWatchHeaderBytes> bytes) {
  const size_t length = static_cast<size_t>(bytes[2] | bytes[3] << 8);
  if (bytes[0] != kWatchMark || bytes[1] == 0 || bytes[1] > static_cast<uint8_t>(WatchMessage::Type::kGoodbye) ||
      length > kMaxWatchBody) {
    return ProtocolError("a watch's message has the mark " + std::to_string(bytes[0]) + ", type " +
                         std::to_string(bytes[1]) + " and " + std::to_string(length) + " bytes; expected mark " +
                         std::to_string(kWatchMark) + ", type 1 to 5, at most " + std::to_string(kMaxWatchBody) +
                         " bytes; run the same build at every rank");
  }
  return WatchHeader{static_cast<WatchMessage::Type>(bytes[1]), length};
}

arrow::Result<WatchMessage> DecodeWatchBody(WatchMessage::Type type, std::string_view body) {
  ByteReader in(body);
  WatchMessage message;
  message.type = type;
  bool right = true;
  auto take_question = [&] {
    message.about = in.Number<Rank>();
    message.stamp = TimePoint(Duration(in.Number<int64_t>()));
  };
  switch (type) {
    case WatchMessage::Type::kBeat:
      message.counter = in.Number<uint64_t>();
      message.report = TakeReport(&in, &right);
      break;
    case WatchMessage::Type::kQuestion:
      take_question();
      break;
    case WatchMessage::Type::kAnswer: {
      take_question();
      const auto testimony = in.Number<uint8_t>();
      right = testimony <= static_cast<uint8_t>(Testimony::kLeft);
      message.testimony = static_cast<Testimony>(testimony);
      message.age = TakeDuration(&in, &right);
      message.has_report = in.Number<uint8_t>() != 0;
      if (message.has_report) {
        message.report = TakeReport(&in, &right);
      }
      break;
    }
    case WatchMessage::Type::kFlood:
      message.text = std::string(in.Raw(body.size()));
      break;
    case WatchMessage::Type::kGoodbye:
      break;
  }
  if (!right || !in.done() || message.report.operation.size() > kMaxOperationText) {
    return ProtocolError("a watch's message of type " + std::to_string(static_cast<int>(type)) + " has " +
                         std::to_string(body.size()) +
                         " bytes that do not say what it should; run the same build at "
                         "every rank");
  }
  return message;
}

}  // namespace cylon::internal
