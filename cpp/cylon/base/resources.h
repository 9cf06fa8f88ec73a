/// What one rank may use and where it reports: all that a kernel is given.
#pragma once

#include <arrow/result.h>

#include <memory>

#include "cylon/base/arena.h"
#include "cylon/base/export.h"
#include "cylon/base/log.h"
#include "cylon/base/memory.h"
#include "cylon/base/options.h"
#include "cylon/base/trace.h"

namespace cylon {

/// Nothing of a rank is process-global, so ranks can be threads. Outlives every table made with it: tables hold it.
/// Buffers alone may outlive it (handed to Python, say): the memory budget goes with the last of them.
class CYLON_EXPORT Resources {
  struct Private {};  // only Make can name it

 public:
  /// Fills the options that were left to be chosen (threads, memory, spill directory) and makes the parts.
  /// Invalid or IOError where a value cannot be used; the message names the option and its variable.
  static arrow::Result<std::shared_ptr<Resources>> Make(Options options);

  Resources(Private, Options options, std::shared_ptr<Logger> log);

  const Options& options() const { return options_; }
  MemoryBudget* memory() { return memory_.get(); }
  Arena& arena() { return arena_; }
  Tracer& tracer() { return tracer_; }
  Logger& log() { return *log_; }

 private:
  Options options_;
  MemoryBudget::Owner memory_;
  Arena arena_;
  Tracer tracer_;
  std::shared_ptr<Logger> log_;
};

}  // namespace cylon
