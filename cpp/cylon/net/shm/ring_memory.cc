// The memory of two rings: made, sealed, checked and mapped.
#include "cylon/net/shm/ring_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <memory>
#include <string>

#include "cylon/base/error.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3; a system may insist on it (vm.memfd_noexec)
#endif

namespace cylon::internal {

namespace {

constexpr uint64_t kDataAt = 4096;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

uint64_t TotalBytes(uint64_t ring_bytes) { return kDataAt + 2 * ring_bytes; }

arrow::Status NoMemory(const char* call, uint64_t ring_bytes) {
  const int error = errno;
  return arrow::Status::IOError("cannot share memory with a rank of this host: ", call, " of ", TotalBytes(ring_bytes),
                                " bytes: ", std::strerror(error),
                                "; raise the limit of descriptors or memory, or set CYLON_TRANSPORT=tcp");
}

arrow::Status Refuse(const std::string& what) {
  return ProtocolError("memory that another rank of this host passed " + what +
                       "; the connection is dropped. Check that all ranks run the same version of Cylon");
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) {
    ::close(number_);
  }
}

RingMemory::~RingMemory() { Reset(); }

void RingMemory::Reset() {
  if (base_ != nullptr) {
    ::munmap(std::exchange(base_, nullptr), TotalBytes(ring_bytes_));
  }
}

arrow::Result<RingMemory> RingMemory::MapChecked(int descriptor, uint64_t ring_bytes) {
  void* base = ::mmap(nullptr, TotalBytes(ring_bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (base == MAP_FAILED) {
    return NoMemory("mmap", ring_bytes);
  }
  return RingMemory(static_cast<uint8_t*>(base), ring_bytes);
}

arrow::Result<std::pair<RingMemory, Descriptor>> RingMemory::Make(uint64_t ring_bytes) {
  if (!std::has_single_bit(ring_bytes) || ring_bytes < kLeastRingBytes || ring_bytes > kMostRingBytes) {
    return arrow::Status::Invalid("a ring of ", ring_bytes, " bytes; expected a power of two from ", kLeastRingBytes,
                                  " to ", kMostRingBytes, "; set CYLON_SHM_RING_BYTES");
  }
  Descriptor descriptor(::memfd_create("cylon-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (descriptor.number() < 0 && errno == EINVAL) {  // an older kernel
    descriptor = Descriptor(::memfd_create("cylon-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  if (descriptor.number() < 0) {
    return NoMemory("memfd_create", ring_bytes);
  }
  if (::ftruncate(descriptor.number(), static_cast<off_t>(TotalBytes(ring_bytes))) != 0) {
    return NoMemory("ftruncate", ring_bytes);
  }
  if (::fcntl(descriptor.number(), F_ADD_SEALS, kSeals) != 0) {
    return NoMemory("F_ADD_SEALS", ring_bytes);
  }
  ARROW_ASSIGN_OR_RAISE(auto memory, MapChecked(descriptor.number(), ring_bytes));
  for (const int ring : {0, 1}) {
    std::construct_at(memory.control(ring));
  }
  return std::make_pair(std::move(memory), std::move(descriptor));
}

arrow::Result<RingMemory> RingMemory::Map(const Descriptor& descriptor, uint64_t ring_bytes) {
  if (!std::has_single_bit(ring_bytes) || ring_bytes < kLeastRingBytes || ring_bytes > kMostRingBytes) {
    return Refuse("claims rings of " + std::to_string(ring_bytes) + " bytes");
  }
  const int seals = ::fcntl(descriptor.number(), F_GET_SEALS);
  if (seals < 0) {
    return Refuse("is no memory that can be sealed");
  }
  if ((seals & kSeals) != kSeals) {
    return Refuse("is not sealed against a change of its size (seals " + std::to_string(seals) + ", not " +
                  std::to_string(kSeals) + ")");
  }
  // Huge pages are taken at the first touch, and may not be there then.
  struct statfs system{};
  if (::fstatfs(descriptor.number(), &system) != 0 || system.f_type != TMPFS_MAGIC) {
    return Refuse("is not of ordinary pages");
  }
  struct stat status{};
  if (::fstat(descriptor.number(), &status) != 0) {
    return NoMemory("fstat", ring_bytes);
  }
  if (static_cast<uint64_t>(status.st_size) != TotalBytes(ring_bytes)) {
    return Refuse("has " + std::to_string(status.st_size) + " bytes, not " + std::to_string(TotalBytes(ring_bytes)));
  }
  return MapChecked(descriptor.number(), ring_bytes);
}

RingControl* RingMemory::control(int ring) const {
  return static_cast<RingControl*>(static_cast<void*>(base_ + static_cast<size_t>(ring) * sizeof(RingControl)));
}

uint8_t* RingMemory::bytes(int ring) const { return base_ + kDataAt + static_cast<uint64_t>(ring) * ring_bytes_; }

RingWriter RingMemory::writer(bool dialler) const {
  const int ring = dialler ? 0 : 1;
  return {control(ring), bytes(ring), ring_bytes_};
}

RingReader RingMemory::reader(bool dialler) const {
  const int ring = dialler ? 1 : 0;
  return {control(ring), bytes(ring), ring_bytes_};
}

}  // namespace cylon::internal
