/// A coroutine from the outside: run to its end by a thread that waits.
#pragma once

#include <utility>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"

namespace cylon::tools {

/// `co` has a deadline of its own, before `patience` is over: what it refers to has to outlive it.
template <typename T>
arrow::Result<T> Finish(AsioExecutor& executor, Co<T> co, Duration patience) {
  auto done = Spawn(executor, std::move(co));
  ARROW_RETURN_NOT_OK(executor.Wait(arrow::Future<>(done), executor.Now() + patience));
  return done.MoveResult();
}
inline arrow::Status Finish(AsioExecutor& executor, Co<void> co, Duration patience) {
  return executor.Await(Spawn(executor, std::move(co)), executor.Now() + patience);
}

}  // namespace cylon::tools
