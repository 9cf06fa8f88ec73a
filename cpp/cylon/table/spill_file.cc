// A rank's spill space.
#include "cylon/table/spill_file.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "cylon/base/failpoint.h"

namespace cylon {

namespace {

constexpr int64_t kAlignment = 64;
/// Places begin at multiples of a page, so that a freed one leaves whole pages.
constexpr int64_t kPage = 4096;
/// Where a file ends at the latest: beyond what a disk has.
constexpr int64_t kMostBytes = int64_t{1} << 60;
/// Parts per system call; the kernel takes at most 1024.
constexpr size_t kPartsPerWrite = 512;

int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

std::string ErrorText(int error) { return std::generic_category().message(error); }

// Files by rank. Not a property of the process: it only finds again what the rank's own chunks keep alive.
struct Files {
  std::mutex mutex;
  std::map<const Resources*, std::weak_ptr<SpillFile>> by_owner;
};

Files& AllFiles() {
  static Files files;
  return files;
}

// A file without a name; its descriptor, or -1 with errno.
int OpenUnnamed(const std::string& directory) {
  const int descriptor = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
    return descriptor;
  }
  // File systems without O_TMPFILE (NFS, overlays of old kernels): the name lives for a moment.
  std::string name = directory + "/cylon-spill-XXXXXX";
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) {
    ::unlink(name.c_str());
  }
  return named;
}

// The whole of `parts` at `offset`; 0, or errno.
int WriteAll(int descriptor, std::vector<iovec> parts, int64_t offset) {
  size_t first = 0;
  while (first < parts.size()) {
    const auto count = static_cast<int>(std::min(parts.size() - first, kPartsPerWrite));
    ssize_t written = ::pwritev(descriptor, parts.data() + first, count, offset);
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno;
    }
    if (written == 0) {
      return ENOSPC;
    }
    offset += written;
    while (first < parts.size() && static_cast<size_t>(written) >= parts[first].iov_len) {
      written -= static_cast<ssize_t>(parts[first].iov_len);
      ++first;
    }
    if (written > 0) {
      parts[first].iov_base = static_cast<uint8_t*>(parts[first].iov_base) + written;
      parts[first].iov_len -= static_cast<size_t>(written);
    }
  }
  return 0;
}

}  // namespace

arrow::Result<std::shared_ptr<SpillFile>> SpillFile::Of(Resources& resources) {
  Files& files = AllFiles();
  std::lock_guard<std::mutex> lock(files.mutex);
  auto& slot = files.by_owner[&resources];
  if (auto file = slot.lock()) {
    return file;
  }
  const std::string& directory = resources.options().spill_directory;
  const int descriptor = OpenUnnamed(directory);
  if (descriptor < 0) {
    const int error = errno;
    files.by_owner.erase(&resources);
    return arrow::Status::IOError("cannot make a spill file in ", directory, ": ", ErrorText(error),
                                  "; expected a directory that may be written; set CYLON_SPILL_DIR to one");
  }
  std::shared_ptr<SpillFile> file(std::unique_ptr<SpillFile>(new SpillFile(&resources, directory, descriptor)));
  slot = file;
  return file;
}

SpillFile::SpillFile(const Resources* owner, std::string directory, int descriptor)
    : owner_(owner), directory_(std::move(directory)), descriptor_(descriptor) {
  free_.Add({0, kMostBytes});
}

SpillFile::~SpillFile() {
  {
    Files& files = AllFiles();
    std::lock_guard<std::mutex> lock(files.mutex);
    auto place = files.by_owner.find(owner_);
    // A new file of the same rank may have taken the place already.
    if (place != files.by_owner.end() && place->second.expired()) {
      files.by_owner.erase(place);
    }
  }
  ::close(descriptor_);
}

arrow::Status SpillFile::Failure(const char* what, int64_t bytes, int error) const {
  const char* hint = error == ENOSPC || error == EDQUOT || error == EFBIG
                         ? "; expected room for it; free disk space, set CYLON_SPILL_DIR to a directory with more, or "
                           "raise CYLON_MEMORY"
                         : "; expected a disk that works; check it, or set CYLON_SPILL_DIR to another one";
  return arrow::Status::IOError("cannot ", what, " ", bytes, " bytes of a spilled chunk in ", directory_, " (",
                                used_bytes(), " bytes are spilled there by this rank): ", ErrorText(error), hint);
}

int64_t SpillFile::Place(int64_t size) {
  std::lock_guard<std::mutex> lock(mutex_);
  const int64_t length = std::max(RoundUp(size, kPage), kPage);
  const int64_t offset = free_.Take(length).begin;
  taken_[offset] = length;
  used_ += length;
  return offset;
}

void SpillFile::Free(int64_t offset) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto place = taken_.find(offset);
  if (place == taken_.end()) {
    return;
  }
  const int64_t length = place->second;
  taken_.erase(place);
  used_ -= length;
  // Not every file system can make holes; then the place is only used again.
  [[maybe_unused]] const int result =
      ::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  free_.Add({offset, offset + length});
}

arrow::Result<int64_t> SpillFile::Write(const std::vector<std::shared_ptr<arrow::Buffer>>& parts) {
  static constexpr std::array<uint8_t, kAlignment> kZeros{};
  std::vector<iovec> pieces;
  pieces.reserve(2 * parts.size());
  int64_t size = 0;
  auto add = [&](const uint8_t* data, int64_t length) {
    if (length > 0) {
      pieces.push_back({const_cast<uint8_t*>(data), static_cast<size_t>(length)});
      size += length;
    }
  };
  for (const auto& part : parts) {
    add(kZeros.data(), RoundUp(size, kAlignment) - size);
    add(part->data(), part->size());
  }
  CYLON_FAILPOINT("spill.write");
  const int64_t offset = Place(size);
  const int error = WriteAll(descriptor_, std::move(pieces), offset);
  if (error != 0) {
    Free(offset);
    return Failure("write", size, error);
  }
  return offset;
}

arrow::Result<std::shared_ptr<arrow::Buffer>> SpillFile::Read(int64_t offset, int64_t size,
                                                              arrow::MemoryPool* pool) const {
  CYLON_FAILPOINT("spill.read");
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(size, pool));
  int64_t done = 0;
  while (done < size) {
    const ssize_t got =
        ::pread(descriptor_, buffer->mutable_data() + done, static_cast<size_t>(size - done), offset + done);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return Failure("read", size, got < 0 ? errno : EIO);
    }
    done += got;
  }
  return buffer;
}

int64_t SpillFile::used_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return used_;
}

}  // namespace cylon
