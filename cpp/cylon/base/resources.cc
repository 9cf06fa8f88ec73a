// What one rank may use and where it reports.
#include "cylon/base/resources.h"

#include <arrow/compute/initialize.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "cylon/base/failpoint.h"

namespace cylon {

namespace {

/// The share of a host's memory that its ranks' budgets add up to: the rest is for code, stacks, sockets, the page
/// cache and what other libraries allocate.
constexpr double kBudgetShare = 0.8;
/// One part in so many of a rank's memory is not given to tables and buffers: the temporaries of kernels, what spilling
/// takes and what the allocator keeps are not counted. Of 1 GiB that was 0.19 GiB in a shuffle of 8 GiB.
constexpr int64_t kUncountedPart = 6;

arrow::Status InitializeCompute() {
  static std::once_flag once;
  static arrow::Status status;
  std::call_once(once, [] { status = arrow::compute::Initialize(); });
  return status;
}

arrow::Status AtLeast(const char* name, const char* variable, int64_t value, int64_t least) {
  if (value < least) {
    return arrow::Status::Invalid("option '", name, "' is ", value, "; expected at least ", least, "; set ", variable);
  }
  return arrow::Status::OK();
}

arrow::Status Positive(const char* name, const char* variable, double seconds) {
  if (!(seconds > 0)) {
    return arrow::Status::Invalid("option '", name, "' is ", seconds, " seconds; expected more than 0; set ", variable);
  }
  return arrow::Status::OK();
}

arrow::Status Check(const Options& options) {
  ARROW_RETURN_NOT_OK(AtLeast("rank", "CYLON_RANK", options.rank, -1));
  ARROW_RETURN_NOT_OK(AtLeast("world_size", "CYLON_WORLD_SIZE", options.world_size, 0));
  ARROW_RETURN_NOT_OK(AtLeast("local_size", "CYLON_LOCAL_SIZE", options.local_size, 1));
  ARROW_RETURN_NOT_OK(AtLeast("threads", "CYLON_THREADS", options.threads, 0));
  ARROW_RETURN_NOT_OK(AtLeast("memory_bytes", "CYLON_MEMORY", options.memory_bytes, 0));
  ARROW_RETURN_NOT_OK(AtLeast("chunk_bytes", "CYLON_CHUNK_BYTES", options.chunk_bytes, 1));
  ARROW_RETURN_NOT_OK(AtLeast("morsel_rows", "CYLON_MORSEL_ROWS", options.morsel_rows, 1));
  ARROW_RETURN_NOT_OK(AtLeast("piece_bytes", "CYLON_PIECE_BYTES", options.piece_bytes, 1));
  ARROW_RETURN_NOT_OK(AtLeast("eager_bytes", "CYLON_EAGER_BYTES", options.eager_bytes, 0));
  ARROW_RETURN_NOT_OK(Positive("join_deadline_s", "CYLON_JOIN_DEADLINE", options.join_deadline_s));
  ARROW_RETURN_NOT_OK(Positive("connect_deadline_s", "CYLON_CONNECT_DEADLINE", options.connect_deadline_s));
  return Positive("close_deadline_s", "CYLON_CLOSE_DEADLINE", options.close_deadline_s);
}

arrow::Status CheckSpillDirectory(const std::string& directory) {
  constexpr const char* kHint = "; set CYLON_SPILL_DIR (or TMPDIR) to a directory that may be written";
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return arrow::Status::IOError("the spill directory ", directory, " does not exist or is no directory", kHint);
  }
  if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    return arrow::Status::IOError("the spill directory ", directory, " may not be written", kHint);
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Result<std::shared_ptr<Resources>> Resources::Make(Options options) {
  ARROW_RETURN_NOT_OK(InitializeCompute());
  ARROW_RETURN_NOT_OK(Check(options));
  if (!options.failpoints.empty()) {
    ARROW_RETURN_NOT_OK(SetFailpoints(options.failpoints));
  }
  if (options.threads == 0 || options.memory_bytes == 0) {
    const HostLimits limits = DetectHostLimits();
    if (options.threads == 0) {
      options.threads = std::max(1, limits.cores / options.local_size);
    }
    if (options.memory_bytes == 0) {
      options.memory_bytes =
          static_cast<int64_t>(static_cast<double>(limits.memory_bytes) * kBudgetShare) / options.local_size;
    }
  }
  if (options.memory_bytes == 0) {
    return arrow::Status::Invalid(
        "this host or cgroup leaves no memory to this rank; raise its limit, or set "
        "CYLON_MEMORY to what the rank may use");
  }
  if (options.spill_directory.empty()) {
    options.spill_directory = "/tmp";
  }
  ARROW_RETURN_NOT_OK(CheckSpillDirectory(options.spill_directory));
  ARROW_ASSIGN_OR_RAISE(auto log, MakeLogger(options.rank, options.log_level));
  return std::make_shared<Resources>(Private{}, std::move(options), std::move(log));
}

Resources::Resources(Private, Options options, std::shared_ptr<Logger> log)
    : options_(std::move(options)),
      memory_(MemoryBudget::Make(options_.memory_bytes - options_.memory_bytes / kUncountedPart)),
      arena_(options_.threads),
      tracer_(options_.trace_directory, options_.rank),
      log_(std::move(log)) {}

}  // namespace cylon
