// The part of the executor that is the same for every implementation.
#include "cylon/base/executor.h"

namespace cylon {

Timer::~Timer() = default;
Executor::~Executor() = default;

arrow::Status Executor::RunTask(arrow::internal::FnOnce<arrow::Status()> function) {
  if (InTask()) {
    return std::move(function)();
  }
  auto done = arrow::Future<>::Make();
  Post([function = std::move(function), done]() mutable { done.MarkFinished(std::move(function)()); });
  return Await(done);
}

}  // namespace cylon
