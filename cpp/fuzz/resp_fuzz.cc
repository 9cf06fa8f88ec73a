// Replies of a Redis server: read alike in whatever pieces they come, within the limits on memory and depth.
#include "cylon/wire/resp.h"

#include <algorithm>
#include <optional>

#include "cylon/base/error.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

struct Outcome {
  std::vector<RespValue> replies;
  arrow::Status refusal;
  bool operator==(const Outcome& other) const { return replies == other.replies && refusal == other.refusal; }
};

Outcome ReadReplies(std::string_view bytes, size_t piece) {
  RespDecoder decoder;
  Outcome outcome;
  while (!bytes.empty()) {
    auto part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (!part.empty()) {
      auto reply = decoder.Next(&part);
      if (!reply.ok()) {
        outcome.refusal = reply.status();
        return outcome;
      }
      if (reply->has_value()) {
        outcome.replies.push_back(**std::move(reply));
      }
    }
  }
  return outcome;
}

size_t Measure(const RespValue& value, size_t depth) {
  Require(depth <= kMaxRespDepth + 1, "arrays lie too deep in each other");
  Require(value.text.size() <= std::max(kMaxRespBulk, kMaxRespLine) && value.elements.size() <= kMaxRespElements,
          "a value is beyond its limit");
  size_t bytes = sizeof(value) + value.text.size();
  for (const auto& element : value.elements) {
    bytes += Measure(element, depth + 1);
  }
  return bytes;
}

void RunResp(std::string_view bytes) {
  const auto whole = ReadReplies(bytes, bytes.size());
  Require(whole.refusal.ok() || IsError(whole.refusal, ErrorKind::kProtocol), "a refusal that is no ProtocolError");
  for (const auto& reply : whole.replies) {
    Require(Measure(reply, 1) <= kMaxRespReply + sizeof(RespValue) * 2, "a reply is beyond its limit");
  }
  for (const size_t piece : {1, 3, 64}) {
    Require(ReadReplies(bytes, piece) == whole, "replies depend on the pieces that they come in");
  }
}

std::vector<std::string> RespSeeds() {
  return {"+OK\r\n",
          "-ERR unknown command\r\n",
          ":-42\r\n",
          "$5\r\nhello\r\n$-1\r\n$0\r\n\r\n",
          "*3\r\n$1\r\na\r\n:1\r\n*2\r\n+x\r\n*-1\r\n",
          "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
          "$18446744073709551615\r\n",
          "*1024\r\n*1024\r\n*1024\r\n*1024\r\n",
          EncodeRespCommand({"SET", "cylon:job/epoch/key", std::string(100, '\0'), "PX", "86400000"}),
          "HTTP/1.1 400 Bad Request\r\n\r\n"};
}

const Registration kResp({"resp", RunResp, RespSeeds});

}  // namespace
}  // namespace cylon::fuzz
