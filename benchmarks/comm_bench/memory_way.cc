// Copies into and out of shared memory.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "way.h"

namespace cylon::bench {

namespace {

/// One direction of one pair: both rings of a pair stay in a second-level cache, and a turn of one core is not cut
/// short by a ring that is full at once.
constexpr int64_t kRingBytes = 256 << 10;
constexpr int64_t kCopyBytes = 64 << 10;
/// Looks before the core is given to somebody else; ranks may outnumber cores.
constexpr int kLooks = 200;

///   0        64       128          128 + kRingBytes
///   +--------+--------+------------+
///   | written| read   | bytes      |     both count from 0 and do not wrap
///   +--------+--------+------------+
struct Ring {
  alignas(64) std::atomic<int64_t> written;
  alignas(64) std::atomic<int64_t> read;
  alignas(64) uint8_t bytes[kRingBytes];

  int64_t Put(const uint8_t* data, int64_t count) {
    const int64_t at = written.load(std::memory_order_relaxed);
    const int64_t place = at % kRingBytes;
    const int64_t room = kRingBytes - (at - read.load(std::memory_order_acquire));
    count = std::min({count, room, kRingBytes - place, kCopyBytes});
    if (count > 0) {
      std::memcpy(bytes + place, data, static_cast<size_t>(count));
      written.store(at + count, std::memory_order_release);
    }
    return count;
  }

  int64_t Get(uint8_t* data, int64_t count) {
    const int64_t at = read.load(std::memory_order_relaxed);
    const int64_t place = at % kRingBytes;
    const int64_t there = written.load(std::memory_order_acquire) - at;
    count = std::min({count, there, kRingBytes - place, kCopyBytes});
    if (count > 0) {
      std::memcpy(data, bytes + place, static_cast<size_t>(count));
      read.store(at + count, std::memory_order_release);
    }
    return count;
  }
};

/// Between two looks at a ring where nothing could be done.
class Patience {
 public:
  void Rest() {
    if (++looks_ < kLooks) {
      __builtin_ia32_pause();
    } else {
      looks_ = 0;
      ::sched_yield();
    }
  }
  void Reset() { looks_ = 0; }

 private:
  int looks_ = 0;
};

class MemoryWay final : public PlainWay {
 public:
  MemoryWay(int rank, int size, Ring* rings, int64_t most_bytes)
      : PlainWay(rank, size), rings_(rings), outgoing_(most_bytes), incoming_(size) {
    std::iota(outgoing_.begin(), outgoing_.end(), static_cast<uint8_t>(rank));
    for (int peer = 0; peer < size; ++peer) {
      incoming_[peer].assign(peer == rank ? 0 : most_bytes, 2);
    }
  }
  ~MemoryWay() override { ::munmap(rings_, Bytes(size())); }
  MemoryWay(const MemoryWay&) = delete;
  MemoryWay& operator=(const MemoryWay&) = delete;

  static size_t Bytes(int size) { return sizeof(Ring) * static_cast<size_t>(size) * static_cast<size_t>(size); }

  std::string name() const override { return "memory"; }

  arrow::Status AllToAll(int64_t bytes) override {
    std::vector<int64_t> sent(size(), 0);
    std::vector<int64_t> received(size(), 0);
    int64_t left = 2 * bytes * (size() - 1);
    for (Patience patience; left > 0;) {
      int64_t moved = 0;
      for (int step = 1; step < size(); ++step) {
        const int to = (rank() + step) % size();
        const int from = (rank() - step + size()) % size();
        const int64_t put = Between(rank(), to).Put(outgoing_.data() + sent[to], bytes - sent[to]);
        const int64_t got = Between(from, rank()).Get(incoming_[from].data() + received[from], bytes - received[from]);
        sent[to] += put;
        received[from] += got;
        moved += put + got;
      }
      left -= moved;
      if (moved == 0) {
        patience.Rest();
      } else {
        patience.Reset();
      }
    }
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank() && incoming_[peer][bytes - 1] != static_cast<uint8_t>(peer + static_cast<int>(bytes - 1))) {
        return arrow::Status::Invalid("shared memory brought other bytes from rank ", peer, " than it sent");
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status Stream(int64_t bytes, int count) override {
    uint8_t word = 1;
    if (rank() == 0) {
      for (int i = 0; i < count; ++i) {
        ARROW_RETURN_NOT_OK(Send(1, outgoing_.data(), bytes));
      }
      return Receive(1, &word, sizeof(word));
    }
    if (rank() == 1) {
      for (int i = 0; i < count; ++i) {
        ARROW_RETURN_NOT_OK(Receive(0, incoming_[0].data(), bytes));
      }
      return Send(0, &word, sizeof(word));
    }
    return arrow::Status::OK();
  }

 private:
  arrow::Status Send(int peer, const void* data, int64_t bytes) override {
    const auto* from = static_cast<const uint8_t*>(data);
    for (Patience patience; bytes > 0;) {
      const int64_t put = Between(rank(), peer).Put(from, bytes);
      from += put;
      bytes -= put;
      if (put == 0) {
        patience.Rest();
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status Receive(int peer, void* data, int64_t bytes) override {
    auto* to = static_cast<uint8_t*>(data);
    for (Patience patience; bytes > 0;) {
      const int64_t got = Between(peer, rank()).Get(to, bytes);
      to += got;
      bytes -= got;
      if (got == 0) {
        patience.Rest();
      }
    }
    return arrow::Status::OK();
  }

  Ring& Between(int from, int to) { return rings_[from * size() + to]; }

  Ring* rings_;
  std::vector<uint8_t> outgoing_;
  std::vector<std::vector<uint8_t>> incoming_;  // by rank
};

arrow::Status Failed(const char* what) {
  return arrow::Status::IOError(what, " failed: ", std::strerror(errno),
                                "; the memory ceiling needs memfd_create and /proc");
}

}  // namespace

arrow::Result<std::unique_ptr<Way>> MakeMemoryWay(Context& context, int64_t most_bytes) {
  const size_t bytes = MemoryWay::Bytes(context.world_size());
  int fd = -1;
  std::string path;
  if (context.rank() == 0) {
    fd = ::memfd_create("comm-bench", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
      return Failed("making shared memory");
    }
    path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd);
  }
  ARROW_ASSIGN_OR_RAISE(const auto shared, context.communicator().Broadcast(arrow::Buffer::FromString(path), 0));
  if (fd < 0) {
    fd = ::open(shared->ToString().c_str(), O_RDWR | O_CLOEXEC);
  }
  void* memory = fd < 0 ? MAP_FAILED : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const arrow::Status mapped = memory == MAP_FAILED ? Failed("mapping shared memory") : arrow::Status::OK();
  // Rank 0's descriptor stays until everybody has opened it.
  const auto all = context.communicator().Barrier();
  if (fd >= 0) {
    ::close(fd);
  }
  ARROW_RETURN_NOT_OK(mapped);
  ARROW_RETURN_NOT_OK(all);
  return std::make_unique<MemoryWay>(context.rank(), context.world_size(), static_cast<Ring*>(memory), most_bytes);
}

}  // namespace cylon::bench
