// What crashed runs of a job have left in an object store.
#include "cylon/net/object/object_lease.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace cylon::internal {

Co<void> DeleteExpired(std::shared_ptr<ObjectStore> store, std::shared_ptr<const ObjectNames> names, Duration lease) {
  struct Run {
    arrow::fs::TimePoint newest;
    std::vector<std::string> objects;
  };
  auto listing = store->List();
  const auto listed = co_await listing;
  CYLON_CO_RETURN_NOT_OK(listed.status());
  std::map<std::string, Run, std::less<>> runs;
  for (const auto& object : *listed) {
    if (const auto epoch = names->EpochOf(object.name)) {
      auto& run = runs[std::string(*epoch)];
      run.newest = std::max(run.newest, object.written);
      run.objects.push_back(object.name);
    }
  }
  const auto own = runs.extract(names->epoch());
  if (own.empty()) {
    co_return arrow::Status::OK();  // without a beat of its own there is no now
  }
  std::vector<arrow::Future<int>> deletions;
  for (const auto& [epoch, run] : runs) {
    if (own.mapped().newest - run.newest > lease) {
      for (const auto& object : run.objects) {
        deletions.push_back(store->Delete(object));
      }
    }
  }
  for (auto& deletion : deletions) {
    const auto deleted = co_await deletion;
    CYLON_CO_RETURN_NOT_OK(deleted.status());
  }
  co_return arrow::Status::OK();
}

}  // namespace cylon::internal
