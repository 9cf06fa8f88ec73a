/// The memory of two rings, one each way, that one process makes and another one maps.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <utility>

#include "cylon/net/shm/ring.h"

namespace cylon::internal {

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  int Release() { return std::exchange(number_, -1); }

 private:
  int number_ = -1;
};

inline constexpr uint64_t kLeastRingBytes = 4096;
inline constexpr uint64_t kMostRingBytes = uint64_t{1} << 30;

/// Anonymous memory, which is gone with the last process that has it:
///
///   0              256            512     4096              4096 + n           4096 + 2 n
///   +--------------+--------------+~~~~~~~+-----------------+------------------+
///   | control 0    | control 1    |       | bytes of ring 0 | bytes of ring 1  |
///   +--------------+--------------+~~~~~~~+-----------------+------------------+
///
/// Ring 0 is written by the dialler, ring 1 by the listener. n is a power of two.
class RingMemory {
 public:
  ~RingMemory();
  RingMemory(RingMemory&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), ring_bytes_(other.ring_bytes_) {}
  RingMemory& operator=(RingMemory&&) = delete;
  RingMemory(const RingMemory&) = delete;
  RingMemory& operator=(const RingMemory&) = delete;

  /// New memory with `ring_bytes` (a power of two) each way, and the descriptor to pass on. It can neither shrink nor
  /// grow. IOError where the system gives none.
  static arrow::Result<std::pair<RingMemory, Descriptor>> Make(uint64_t ring_bytes);
  /// The memory behind a descriptor that another process passed. ProtocolError where it is no memory of that size that
  /// is sealed against shrinking: a page that goes away would end this process at its next touch.
  static arrow::Result<RingMemory> Map(const Descriptor& descriptor, uint64_t ring_bytes);

  RingWriter writer(bool dialler) const;
  RingReader reader(bool dialler) const;

  /// Gives the memory back; writer and reader must not be used any more.
  void Reset();

 private:
  RingMemory(uint8_t* base, uint64_t ring_bytes) : base_(base), ring_bytes_(ring_bytes) {}
  static arrow::Result<RingMemory> MapChecked(int descriptor, uint64_t ring_bytes);
  RingControl* control(int ring) const;
  uint8_t* bytes(int ring) const;

  uint8_t* base_;
  uint64_t ring_bytes_;
};

}  // namespace cylon::internal
