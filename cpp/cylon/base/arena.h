/// A rank's cores: where kernels run their tasks.
#pragma once

#include <arrow/status.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "cylon/base/export.h"

namespace cylon {

/// A fixed number of threads shared by the operators of one rank. No task may wait on the network.
class CYLON_EXPORT Arena {
 public:
  /// `threads` >= 1. With one thread everything runs inline in the caller, which is also what a simulation asks for.
  explicit Arena(int threads);
  ~Arena();

  int threads() const { return threads_; }

  /// Runs function(0) … function(count - 1), the caller taking part, and returns when all have ended: the status of
  /// the lowest index that failed, or OK. After a failure, those not begun are skipped.
  arrow::Status ParallelFor(int64_t count, const std::function<arrow::Status(int64_t)>& function);

 private:
  class Impl;
  int threads_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cylon
