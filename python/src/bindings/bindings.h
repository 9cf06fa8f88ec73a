/// What the binding files share: errors, the GIL, and Arrow capsules.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cylon/cylon.h"

namespace cylon::python {

namespace nb = nanobind;

using ContextPtr = std::shared_ptr<Context>;

/// Carries a status to the translator that makes a Python exception of it.
struct StatusException : std::exception {
  explicit StatusException(arrow::Status cause) : status(std::move(cause)) {}
  arrow::Status status;
};

/// Throws where `status` is not OK. An interrupt throws the Python exception that the signal handler set.
void Check(const arrow::Status& status);

template <typename T>
T Check(arrow::Result<T> result) {
  Check(result.status());
  return std::move(result).ValueUnsafe();
}

/// Runs `function` (which returns a Status or a Result) without the GIL.
template <typename Function>
auto WithoutGil(Function&& function) {
  auto outcome = [&] {
    nb::gil_scoped_release release;
    return function();
  }();
  return Check(std::move(outcome));
}

/// Where Python is: the first frame outside this package, "analysis.py:42"; "" where there is none.
std::string PythonPlace();

/// The same for a call on `context`, which errors then name by its place in the program.
template <typename Function>
auto WithoutGil(Context& context, Function&& function) {
  // A context of one rank has nobody to tell.
  CallSite site(context.communicator(), context.world_size() > 1 ? PythonPlace() : std::string());
  return WithoutGil(std::forward<Function>(function));
}

/// Lets Python's signal handlers run; for waits.
arrow::Status CheckSignals();

/// Options of the process's environment with `overrides` (names as in the option table).
Options MakeOptions(const std::map<std::string, std::string>& overrides);

void BindErrors(nb::module_& module);
void BindContext(nb::module_& module);
void BindTable(nb::module_& module);
void BindOperators(nb::module_& module);
void BindFiles(nb::module_& module);

}  // namespace cylon::python
