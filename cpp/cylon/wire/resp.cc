// Commands to and replies from Redis servers.
#include "cylon/wire/resp.h"

#include <charconv>
#include <utility>

#include "cylon/base/error.h"

namespace cylon {

namespace {

using Kind = RespValue::Kind;
using MaybeReply = std::optional<RespValue>;

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kFirstBytes = "+-:$*";

arrow::Status NotRedis(const std::string& what) {
  return ProtocolError("not a reply of a Redis server: " + what + "; check which server this is");
}

std::string ByteName(char byte) {
  const int code = static_cast<uint8_t>(byte);
  return code > 0x20 && code < 0x7f ? std::string("'") + byte + "'" : "byte " + std::to_string(code);
}

arrow::Result<int64_t> ReadNumber(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return NotRedis("a line that has to be a number of 64 bits is none");
  }
  return number;
}

}  // namespace

const char* RespKindName(RespValue::Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kSimple:
      return "a simple string";
    case Kind::kError:
      return "an error";
    case Kind::kInteger:
      return "an integer";
    case Kind::kBulk:
      return "a bulk string";
    case Kind::kArray:
      return "an array";
  }
  return "unknown";
}

std::string EncodeRespCommand(const std::vector<std::string>& words) {
  size_t size = 16;
  for (const auto& word : words) {
    size += word.size() + 32;
  }
  std::string out;
  out.reserve(size);
  out.append("*").append(std::to_string(words.size())).append(kLineEnd);
  for (const auto& word : words) {
    out.append("$").append(std::to_string(word.size())).append(kLineEnd).append(word).append(kLineEnd);
  }
  return out;
}

arrow::Result<std::optional<RespValue>> RespDecoder::Next(std::string_view* bytes) {
  ARROW_RETURN_NOT_OK(failed_);
  while (!bytes->empty()) {
    auto reply = Step(bytes);
    if (!reply.ok()) {
      failed_ = reply.status();
      line_ = {};
      bulk_.reset();
      arrays_.clear();
      return failed_;
    }
    if (reply->has_value()) {
      charged_ = 0;
      return reply;
    }
  }
  return MaybeReply();
}

arrow::Result<std::optional<RespValue>> RespDecoder::Step(std::string_view* bytes) {
  if (bulk_) {
    const auto piece = bytes->substr(0, bulk_size_ - bulk_->text.size());
    bulk_->text.append(piece);
    bytes->remove_prefix(piece.size());
    if (bulk_->text.size() < bulk_size_) {
      return MaybeReply();
    }
    if (!bulk_->text.ends_with(kLineEnd)) {
      return NotRedis("a bulk string does not end where it said it would");
    }
    bulk_->text.resize(bulk_size_ - kLineEnd.size());
    return Finish(*std::exchange(bulk_, std::nullopt));
  }
  if (line_.empty() && kFirstBytes.find(bytes->front()) == std::string_view::npos) {
    return NotRedis("a reply begins with " + ByteName(bytes->front()) + ", not with one of " +
                    std::string(kFirstBytes));
  }
  const size_t end = bytes->find('\n');
  const bool whole = end != std::string_view::npos;
  const size_t size = whole ? end + 1 : bytes->size();
  if (line_.size() + size > kMaxRespLine + kLineEnd.size()) {
    return NotRedis("a line is longer than " + std::to_string(kMaxRespLine) + " bytes");
  }
  line_.append(bytes->substr(0, size));
  bytes->remove_prefix(size);
  if (!whole) {
    return MaybeReply();
  }
  const std::string line = std::exchange(line_, {});
  // The only return is the one before the newline.
  if (line.find('\r') != line.size() - kLineEnd.size()) {
    return NotRedis("a line does not end with a return and a newline");
  }
  return Line(std::string_view(line).substr(0, line.size() - kLineEnd.size()));
}

arrow::Result<std::optional<RespValue>> RespDecoder::Line(std::string_view line) {
  const char type = line.front();
  line.remove_prefix(1);
  RespValue value;
  if (type == '+' || type == '-') {
    ARROW_RETURN_NOT_OK(Charge(line.size()));
    value.kind = type == '+' ? Kind::kSimple : Kind::kError;
    value.text = line;
    return Finish(std::move(value));
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t number, ReadNumber(line));
  if (type == ':') {
    value.kind = Kind::kInteger;
    value.number = number;
    return Finish(std::move(value));
  }
  if (number == -1) {
    return Finish(std::move(value));
  }
  return type == '$' ? BeginBulk(number) : BeginArray(number);
}

arrow::Result<std::optional<RespValue>> RespDecoder::BeginBulk(int64_t length) {
  if (length < 0 || static_cast<uint64_t>(length) > kMaxRespBulk) {
    return NotRedis("a bulk string announces " + std::to_string(length) + " bytes; at most " +
                    std::to_string(kMaxRespBulk) + " are read");
  }
  bulk_size_ = static_cast<size_t>(length) + kLineEnd.size();
  ARROW_RETURN_NOT_OK(Charge(bulk_size_));
  bulk_.emplace();
  bulk_->kind = Kind::kBulk;
  bulk_->text.reserve(bulk_size_);
  return MaybeReply();
}

arrow::Result<std::optional<RespValue>> RespDecoder::BeginArray(int64_t count) {
  if (count < 0 || static_cast<uint64_t>(count) > kMaxRespElements) {
    return NotRedis("an array announces " + std::to_string(count) + " elements; at most " +
                    std::to_string(kMaxRespElements) + " are read");
  }
  if (arrays_.size() == kMaxRespDepth) {
    return NotRedis("arrays lie in each other more than " + std::to_string(kMaxRespDepth) + " deep");
  }
  const auto elements = static_cast<size_t>(count);
  ARROW_RETURN_NOT_OK(Charge(elements * sizeof(RespValue)));
  RespValue value;
  value.kind = Kind::kArray;
  value.elements.reserve(elements);
  if (elements == 0) {
    return Finish(std::move(value));
  }
  arrays_.push_back({std::move(value), elements});
  return MaybeReply();
}

std::optional<RespValue> RespDecoder::Finish(RespValue value) {
  while (!arrays_.empty()) {
    Array& array = arrays_.back();
    array.value.elements.push_back(std::move(value));
    if (--array.missing > 0) {
      return std::nullopt;
    }
    value = std::move(array.value);
    arrays_.pop_back();
  }
  return value;
}

arrow::Status RespDecoder::Charge(size_t bytes) {
  charged_ += bytes;
  if (charged_ > kMaxRespReply) {
    return NotRedis("a reply is larger than " + std::to_string(kMaxRespReply) + " bytes");
  }
  return arrow::Status::OK();
}

}  // namespace cylon
