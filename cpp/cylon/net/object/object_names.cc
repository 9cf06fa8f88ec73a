// What objects are called.
#include "cylon/net/object/object_names.h"

#include <algorithm>

#include "cylon/base/random.h"

namespace cylon::internal {

namespace {

constexpr char kPart = '!';
constexpr size_t kTagDigits = 16;

/// Letters, digits, '-', '_' and '.' as they are, others as * and two digits: S3 and all file systems take those.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    out += plain ? std::string(1, c) : "*" + HexEncode(std::string_view(&c, 1));
  }
  return out;
}

}  // namespace

ObjectNames::ObjectNames(const World& world)
    : job_(Escaped(world.job) + kPart), epoch_(Escaped(world.epoch)), run_(job_ + epoch_ + kPart) {
  for (Rank rank = 0; rank < world.size(); ++rank) {
    const std::string_view address = world.cards[static_cast<size_t>(rank)].address;
    const auto tag = address.substr(std::min(kObjectScheme.size(), address.size()), kTagDigits);
    ranks_.push_back(std::to_string(rank) + "." + Escaped(tag));
  }
}

std::string ObjectNames::Entry(Rank from, Rank to, uint64_t number) const {
  return run_ + ranks_[static_cast<size_t>(from)] + kPart + ranks_[static_cast<size_t>(to)] + kPart +
         std::to_string(number);
}

std::string ObjectNames::Beat(Rank rank) const { return run_ + ranks_[static_cast<size_t>(rank)] + kPart + "alive"; }

std::optional<std::string_view> ObjectNames::EpochOf(std::string_view name) const {
  if (!name.starts_with(job_)) {
    return std::nullopt;
  }
  name.remove_prefix(job_.size());
  const size_t end = name.find(kPart);
  return end == std::string_view::npos ? std::nullopt : std::optional(name.substr(0, end));
}

}  // namespace cylon::internal
