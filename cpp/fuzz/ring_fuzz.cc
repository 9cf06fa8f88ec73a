// The rings of shared memory against a process that writes anything into them at any time.
#include "cylon/net/shm/ring.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

using internal::RingControl;
using internal::RingReader;
using internal::RingWriter;

constexpr uint64_t kCapacity = 256;

/// Memory of exactly the ring's size, so that a step beyond it is seen.
struct Ring {
  RingControl control;
  std::vector<uint8_t> data = std::vector<uint8_t>(kCapacity);
};

void ReadSome(RingReader& reader, uint64_t wanted) {
  const uint64_t ready = reader.Ready(wanted);
  Require(ready <= kCapacity, "more is ready than the ring has");
  std::vector<uint8_t> into(std::min<uint64_t>(ready, wanted));
  if (!into.empty()) {
    reader.Take(into);
    static_cast<void>(reader.Release());
  }
}

void WriteSome(RingWriter& writer, uint64_t wanted) {
  const uint64_t room = writer.Room(wanted);
  Require(room <= kCapacity, "there is more room than the ring has");
  const std::vector<uint8_t> bytes(std::min<uint64_t>(room, wanted), 7);
  if (!bytes.empty()) {
    writer.Put(bytes);
    static_cast<void>(writer.Publish());
  }
}

// The first byte says which end is ours; then our steps, and what the other end puts into the shared memory. Counts
// are near those that it saw, or any.
void RunRing(std::string_view bytes) {
  Input in(bytes);
  const bool reads = (in.Byte() & 1) != 0;
  auto ring = std::make_unique<Ring>();
  RingReader reader(&ring->control, ring->data.data(), kCapacity);
  RingWriter writer(&ring->control, ring->data.data(), kCapacity);
  bool broken = false;
  while (!in.empty()) {
    const uint8_t action = in.Byte();
    const uint64_t number = in.Byte();
    switch (action % 6) {
      case 0:
      case 1:
        reads ? ReadSome(reader, number) : WriteSome(writer, number);
        break;
      case 2:
        static_cast<void>(reads ? reader.Sleep() : writer.Sleep());
        reads ? reader.Wake() : writer.Wake();
        break;
      case 3:
        (reads ? ring->control.written : ring->control.read).fetch_add(number);
        break;
      case 4:
        (reads ? ring->control.written : ring->control.read).store(in.Number(8));
        break;
      default:
        ring->control.reader_sleeps.store(static_cast<uint32_t>(number));
        ring->control.writer_sleeps.store(static_cast<uint32_t>(number));
        ring->control.read.fetch_add(reads ? number : 0);  // our own count, which we do not read back
        break;
    }
    const bool now = reads ? reader.broken() : writer.broken();
    Require(now || !broken, "a ring that was broken is none any more");
    broken = now;
  }
}

std::vector<std::string> RingSeeds() {
  return {Output().Byte(1).Byte(3).Byte(100).Byte(0).Byte(60).Byte(3).Byte(200).Byte(0).Byte(255).bytes(),
          Output().Byte(0).Byte(0).Byte(200).Byte(3).Byte(150).Byte(0).Byte(200).Byte(2).Byte(0).bytes(),
          Output().Byte(1).Byte(4).Byte(0).Number(UINT64_MAX, 8).Byte(0).Byte(10).bytes(),
          Output().Byte(0).Byte(0).Byte(9).Byte(4).Byte(0).Number(10, 8).Byte(0).Byte(255).bytes()};
}

const Registration kRing({"ring", RunRing, RingSeeds});

}  // namespace
}  // namespace cylon::fuzz
