/// A ring of bytes in memory that two processes share: one writes, the other reads, and neither trusts the other.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>

namespace cylon::internal {

/// What the two ends tell each other, in shared memory, each on a cache line of its own (a line that both write moves
/// between cores at each turn):
///
///   0           64        128             192             256
///   +-----------+---------+---------------+---------------+
///   | written   | read    | reader sleeps | writer sleeps |
///   +-----------+---------+---------------+---------------+
///
/// `written` and `read` count bytes since the beginning and belong to the writer and the reader. A sleeping end sets
/// its flag, looks again, and sleeps; the other end moves its count, looks at the flag, and rings where it is set. All
/// four are sequentially consistent, so one of them sees the other.
struct RingControl {
  alignas(64) std::atomic<uint64_t> written{0};
  alignas(64) std::atomic<uint64_t> read{0};
  alignas(64) std::atomic<uint32_t> reader_sleeps{0};
  alignas(64) std::atomic<uint32_t> writer_sleeps{0};
};
static_assert(sizeof(RingControl) == 256);
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

/// The end that writes. It keeps its own count and the last one of the reader that was possible: what it finds in the
/// shared memory is only ever compared with those.
class RingWriter {
 public:
  /// `data` has `capacity` bytes, a power of two.
  RingWriter(RingControl* control, uint8_t* data, uint64_t capacity)
      : control_(control), data_(data), capacity_(capacity) {}

  /// Bytes that fit, at least. Looks at the reader's count only where what is known is less than `wanted`.
  uint64_t Room(uint64_t wanted) {
    if (capacity_ - (put_ - read_) < wanted && !broken_) {
      const uint64_t read = control_->read.load();
      broken_ = read - read_ > put_ - read_;  // back, or ahead of what was written
      read_ = broken_ ? read_ : read;
    }
    return broken_ ? 0 : capacity_ - (put_ - read_);
  }

  /// Copies `bytes`, no more than there is room for.
  void Put(std::span<const uint8_t> bytes) {
    const uint64_t at = put_ & (capacity_ - 1);
    const uint64_t first = std::min<uint64_t>(bytes.size(), capacity_ - at);
    std::memcpy(data_ + at, bytes.data(), first);
    if (first < bytes.size()) {
      std::memcpy(data_, bytes.data() + first, bytes.size() - first);
    }
    put_ += bytes.size();
  }

  /// The reader may have what was put. True where it sleeps, and has to be woken.
  bool Publish() {
    control_->written.store(put_);
    return control_->reader_sleeps.load() != 0 && control_->reader_sleeps.exchange(0) != 0;
  }

  /// This end will sleep until there is room. False where there is.
  bool Sleep() {
    control_->writer_sleeps.store(1);
    return Room(capacity_) == 0 && !broken_;
  }
  void Wake() { control_->writer_sleeps.store(0); }

  /// The reader's count was impossible.
  bool broken() const { return broken_; }

 private:
  RingControl* control_;
  uint8_t* data_;
  uint64_t capacity_;
  uint64_t put_ = 0;
  uint64_t read_ = 0;  // of the reader, as last seen
  bool broken_ = false;
};

/// The end that reads.
class RingReader {
 public:
  RingReader(RingControl* control, const uint8_t* data, uint64_t capacity)
      : control_(control), data_(data), capacity_(capacity) {}

  /// Bytes that can be taken, at least. Looks at the writer's count only where what is known is less than `wanted`.
  uint64_t Ready(uint64_t wanted) {
    if (written_ - taken_ < wanted && !broken_) {
      const uint64_t written = control_->written.load();
      broken_ = written - written_ > capacity_ - (written_ - taken_);  // back, or ahead of the room
      written_ = broken_ ? written_ : written;
    }
    return broken_ ? 0 : written_ - taken_;
  }

  /// Copies as many bytes as `into` has, no more than are ready.
  void Take(std::span<uint8_t> into) {
    const uint64_t at = taken_ & (capacity_ - 1);
    const uint64_t first = std::min<uint64_t>(into.size(), capacity_ - at);
    std::memcpy(into.data(), data_ + at, first);
    if (first < into.size()) {
      std::memcpy(into.data() + first, data_, into.size() - first);
    }
    taken_ += into.size();
  }

  /// The writer may have the room of what was taken. True where it sleeps and has to be woken: as soon as half of the
  /// ring is free, or it would wake for a few bytes each time.
  bool Release() {
    control_->read.store(taken_);
    return written_ - taken_ <= capacity_ / 2 && control_->writer_sleeps.load() != 0 &&
           control_->writer_sleeps.exchange(0) != 0;
  }

  /// This end will sleep until there is something. False where there is.
  bool Sleep() {
    control_->reader_sleeps.store(1);
    return Ready(1) == 0 && !broken_;
  }
  void Wake() { control_->reader_sleeps.store(0); }

  /// The writer's count was impossible.
  bool broken() const { return broken_; }

 private:
  RingControl* control_;
  const uint8_t* data_;
  uint64_t capacity_;
  uint64_t taken_ = 0;
  uint64_t written_ = 0;  // of the writer, as last seen
  bool broken_ = false;
};

}  // namespace cylon::internal
