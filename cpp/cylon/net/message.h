/// What travels between ranks: messages, and the channels they belong to.
#pragma once

#include <arrow/buffer.h>

#include <array>
#include <compare>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/export.h"

namespace cylon {

enum class ChannelKind : uint16_t {
  kControl = 0,       ///< revocation, goodbye: overtakes everything
  kCollective = 1,    ///< one channel an operation; `sequence` counts the communicator's operations
  kPointToPoint = 2,  ///< `sequence` is the tag
  kExchange = 3,      ///< one channel an exchange; `sequence` counts the communicator's exchanges
  kTest = 4,
  kProbe = 5,  ///< of channels, between which is chosen (net/choice); no lane sees it
};

/// Where a message belongs. Messages of one channel from one peer keep their order; nothing else does.
///
///   0        4              8       10             16             24
///   +--------+--------------+-------+--------------+--------------+
///   | epoch  | communicator | kind  |   (zero)     |   sequence   |
///   +--------+--------------+-------+--------------+--------------+
///
/// `epoch` is the low 32 bits of the run's epoch: a message of another run that slipped through is told by it.
struct ChannelId {
  uint32_t epoch = 0;
  uint32_t communicator = 0;
  ChannelKind kind = ChannelKind::kControl;
  uint64_t sequence = 0;
  auto operator<=>(const ChannelId&) const = default;
};

/// At most 256 bytes, held in place.
class InlineBytes {
 public:
  static constexpr size_t kCapacity = 256;
  InlineBytes() = default;
  explicit InlineBytes(std::span<const uint8_t> bytes) : size_(static_cast<uint16_t>(bytes.size())) {
    std::memcpy(bytes_.data(), bytes.data(), bytes.size());
  }
  /// The bytes of a plain struct.
  template <typename T>
  static InlineBytes Of(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kCapacity);
    InlineBytes out;
    out.size_ = sizeof(T);
    std::memcpy(out.bytes_.data(), &value, sizeof(T));
    return out;
  }
  /// The struct that these bytes are; false where the size differs.
  template <typename T>
  bool As(T* value) const {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kCapacity);
    if (size_ != sizeof(T)) {
      return false;
    }
    std::memcpy(value, bytes_.data(), sizeof(T));
    return true;
  }
  const uint8_t* data() const { return bytes_.data(); }
  size_t size() const { return size_; }
  std::span<const uint8_t> bytes() const { return {bytes_.data(), size_}; }

 private:
  uint16_t size_ = 0;
  std::array<uint8_t, kCapacity> bytes_;  // beyond size_ never read
};

using Buffers = std::vector<std::shared_ptr<arrow::Buffer>>;
using Sizes = std::vector<int64_t>;

/// A few inline bytes, and buffers that are sent as they lie and held until they are gone.
struct Message {
  ChannelId channel;
  InlineBytes header;
  Buffers segments;
  /// Of a piece: the bytes of the whole, by which a way may be chosen for it (net/choice). It says itself where it
  /// belongs, so it needs no order but among the pieces. 0: this is the whole.
  int64_t piece_of = 0;
  int64_t payload_bytes() const {
    int64_t total = 0;
    for (const auto& segment : segments) {
      total += segment->size();
    }
    return total;
  }
};

}  // namespace cylon

template <>
struct std::hash<cylon::ChannelId> {
  size_t operator()(const cylon::ChannelId& id) const noexcept {
    uint64_t h = (uint64_t{id.epoch} << 32 | id.communicator) * 0x9e3779b97f4a7c15ULL;
    h = (h ^ (h >> 29) ^ id.sequence) * 0xbf58476d1ce4e5b9ULL;
    return h ^ (h >> 32) ^ static_cast<uint64_t>(id.kind);
  }
};
