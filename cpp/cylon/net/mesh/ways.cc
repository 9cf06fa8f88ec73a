// The ways that one rank has to the others.
#include "cylon/net/mesh/ways.h"

#include <algorithm>
#include <sstream>

#include "cylon/base/error.h"

namespace cylon::internal {

namespace {

std::string NamesOf(const std::vector<std::unique_ptr<Path>>& paths) {
  std::string names;
  for (const auto& path : paths) {
    names += (names.empty() ? "" : ", ") + path->name();
  }
  return names;
}

}  // namespace

Co<Reached> ConnectByAny(const std::vector<std::unique_ptr<Path>>& paths, std::string addresses, TimePoint deadline,
                         arrow::Future<> stop) {
  std::string failures;
  bool nobody = true;
  bool late = false;
  std::istringstream words(addresses);
  for (std::string address; words >> address && !late;) {
    const auto path = std::ranges::find_if(paths, [&](const auto& way) { return way->Reaches(address); });
    if (path == paths.end()) {
      continue;
    }
    auto dial = (*path)->Dial(address, deadline, stop);
    auto dialled = co_await dial;
    if (dialled.ok()) {
      co_return Reached{path->get(), std::move(*dialled)};
    }
    if (dialled.status().IsCancelled()) {
      co_return dialled.status();
    }
    failures += (failures.empty() ? "" : "; ") + dialled.status().message();
    nobody = nobody && IsNobodyListening(dialled.status());
    late = IsError(dialled.status(), ErrorKind::kDeadline);
  }
  if (failures.empty()) {
    co_return arrow::Status::Invalid("none of its addresses ('", addresses, "') can be reached by the ways that this ",
                                     "rank has (", NamesOf(paths), "); give all ranks the same CYLON_TRANSPORT");
  }
  co_return nobody ? NobodyListens(failures) : late ? DeadlineError(failures) : arrow::Status::IOError(failures);
}

}  // namespace cylon::internal
