/// Spans of a rank's work, written as Chrome trace JSON (opens in Perfetto).
#pragma once

#include <arrow/status.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"

namespace cylon {

/// Collects the spans of one rank. Thread-safe. Where tracing is off, a span costs one branch.
class CYLON_EXPORT Tracer {
 public:
  /// `directory` "" switches tracing off.
  Tracer(std::string directory, int rank);
  ~Tracer();

  bool enabled() const { return !directory_.empty(); }

  /// Records one finished span. `arguments` are numbers shown with it (rows, bytes).
  void Record(std::string_view name, TimePoint begin, TimePoint end,
              const std::vector<std::pair<std::string, int64_t>>& arguments);

  /// Writes `directory`/rank-<rank>.json (under a temporary name, then renamed). Does nothing when off.
  arrow::Status Write();

  /// Merges rank-*.json of `directory` into trace.json: one process per rank. Returns the path of trace.json.
  static arrow::Result<std::string> Merge(const std::string& directory);

 private:
  struct Event;
  std::string directory_;
  int rank_;
  Duration wall_offset_;  // of the wall clock from the monotonic one
  std::mutex mutex_;
  std::vector<Event> events_;
  int64_t dropped_ = 0;  // spans beyond the number that is kept
};

/// A span from construction to destruction.
class CYLON_EXPORT TraceSpan {
 public:
  TraceSpan(Tracer& tracer, std::string_view name);
  ~TraceSpan();
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;
  /// A number shown with the span; the last value of a name counts.
  void Set(std::string_view name, int64_t value);

 private:
  Tracer* tracer_;  // nullptr: off
  std::string name_;
  TimePoint begin_;
  std::vector<std::pair<std::string, int64_t>> arguments_;
};

}  // namespace cylon
