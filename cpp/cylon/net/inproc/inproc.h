/// Ranks that are threads of one process: a message is handed over by its receiver's executor.
#pragma once

#include <memory>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/net/transport.h"

namespace cylon {

/// What the ranks share. Thread-safe.
class CYLON_EXPORT InprocHub {
 public:
  explicit InprocHub(int world_size);
  ~InprocHub();
  /// `executor` must outlive the transport. Start finishes when all ranks have started.
  std::unique_ptr<Transport> MakeTransport(Rank rank, Executor& executor);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace cylon
