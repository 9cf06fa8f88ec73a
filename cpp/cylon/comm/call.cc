// Calls as text and as message headers.
#include "cylon/comm/call.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "cylon/comm/reduce.h"

namespace cylon::internal {

namespace {

constexpr uint8_t kVersion = 2;
constexpr size_t kFixedBytes = 32;
// What an operator's name and a place in a program may take of a header (kMaxUserHeader). Of a place the end is kept.
constexpr size_t kWithinBytes = 96;
constexpr size_t kSiteBytes = 64;
constexpr uint8_t kInvalidFlag = 1;
constexpr uint8_t kAnnouncementFlag = 2;

const char* KindName(CallKind kind) {
  switch (kind) {
    case CallKind::kBarrier:
      return "Barrier";
    case CallKind::kAllReduce:
      return "AllReduce";
    case CallKind::kReduce:
      return "Reduce";
    case CallKind::kBroadcast:
      return "Broadcast";
    case CallKind::kAllGather:
      return "AllGather";
    case CallKind::kGather:
      return "Gather";
    case CallKind::kScatter:
      return "Scatter";
    case CallKind::kAllToAll:
      return "AllToAll";
    case CallKind::kAgree:
      return "Agree";
    case CallKind::kSplit:
      return "Split";
  }
  return "unknown call";
}

template <typename T>
void Put(std::array<uint8_t, InlineBytes::kCapacity>* bytes, size_t at, T value) {
  std::memcpy(bytes->data() + at, &value, sizeof(T));
}

template <typename T>
T Take(const InlineBytes& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

}  // namespace

bool SameCall(const Call& left, const Call& right) {
  return left.kind == right.kind && left.type == right.type && left.reduce == right.reduce && left.root == right.root &&
         left.bytes == right.bytes && left.invalid == right.invalid;
}

std::string ToText(const Call& call) {
  std::string arguments;
  auto add = [&](const std::string& argument) { arguments += (arguments.empty() ? "" : ", ") + argument; };
  if (call.type != arrow::Type::NA) {
    const int64_t width = ElementWidth(call.type);
    add(width > 0 && call.bytes % width == 0 ? std::to_string(call.bytes / width) + " x " + ElementName(call.type)
                                             : std::to_string(call.bytes) + " bytes of " + ElementName(call.type));
    add(std::string(ReduceOpName(call.reduce)));
  }
  if (call.root >= 0) {
    add("root " + std::to_string(call.root));
  }
  std::string text = (call.within.empty() ? "" : call.within + ": ") + KindName(call.kind) + "(" + arguments + ")";
  if (call.invalid) {
    text += " with arguments that it refused";
  }
  if (!call.site.empty()) {
    text += " at " + call.site;
  }
  return text;
}

InlineBytes Encode(const CallHeader& header) {
  std::array<uint8_t, InlineBytes::kCapacity> bytes{};
  const size_t within = std::min(header.call.within.size(), kWithinBytes);
  const size_t site = std::min(header.call.site.size(), kSiteBytes);
  const int flags = (header.call.invalid ? kInvalidFlag : 0) | (header.announcement ? kAnnouncementFlag : 0);
  Put<uint8_t>(&bytes, 0, kVersion);
  Put(&bytes, 1, header.call.kind);
  Put(&bytes, 2, static_cast<uint8_t>(header.call.type));
  Put(&bytes, 3, header.call.reduce);
  Put(&bytes, 4, static_cast<uint8_t>(flags));
  Put(&bytes, 5, static_cast<uint8_t>(within));
  Put(&bytes, 6, static_cast<uint8_t>(site));
  Put(&bytes, 8, header.call.root);
  Put(&bytes, 16, header.call.bytes);
  Put(&bytes, 24, header.sequence);
  std::memcpy(bytes.data() + kFixedBytes, header.call.within.data(), within);
  std::memcpy(bytes.data() + kFixedBytes + within, header.call.site.data() + header.call.site.size() - site, site);
  return InlineBytes(std::span<const uint8_t>(bytes.data(), kFixedBytes + within + site));
}

arrow::Result<CallHeader> DecodeCallHeader(const InlineBytes& bytes) {
  if (bytes.size() < kFixedBytes || bytes.size() != kFixedBytes + Take<uint8_t>(bytes, 5) + Take<uint8_t>(bytes, 6)) {
    return ProtocolError("the header of a collective has " + std::to_string(bytes.size()) + " bytes");
  }
  if (Take<uint8_t>(bytes, 0) != kVersion) {
    return ProtocolError("the header of a collective has version " + std::to_string(Take<uint8_t>(bytes, 0)) +
                         "; expected " + std::to_string(kVersion) + "; run the same build at every rank");
  }
  const auto kind = Take<uint8_t>(bytes, 1);
  if (kind == 0 || kind > kCallKinds) {
    return ProtocolError("the header of a collective has the unknown kind " + std::to_string(kind));
  }
  CallHeader header;
  header.call.kind = static_cast<CallKind>(kind);
  header.call.type = static_cast<ElementType>(Take<uint8_t>(bytes, 2));
  header.call.reduce = static_cast<ReduceOp>(Take<uint8_t>(bytes, 3));
  const auto flags = Take<uint8_t>(bytes, 4);
  header.call.invalid = (flags & kInvalidFlag) != 0;
  header.announcement = (flags & kAnnouncementFlag) != 0;
  header.call.root = Take<Rank>(bytes, 8);
  header.call.bytes = Take<int64_t>(bytes, 16);
  header.sequence = Take<uint64_t>(bytes, 24);
  const auto text = bytes.bytes().subspan(kFixedBytes);
  const auto within = text.first(Take<uint8_t>(bytes, 5));
  const auto site = text.subspan(within.size());
  header.call.within.assign(within.begin(), within.end());
  header.call.site.assign(site.begin(), site.end());
  return header;
}

}  // namespace cylon::internal
