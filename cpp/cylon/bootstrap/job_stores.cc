// The stores of a server's jobs.
#include "cylon/bootstrap/job_stores.h"

#include <utility>

#include "cylon/bootstrap/waits.h"

namespace cylon {

Co<void> JobStores::Serve(std::shared_ptr<JobStores> self, std::unique_ptr<Stream> stream, Guest guest) {
  if (self->closed_) {
    co_return StoreClosed();
  }
  const auto store = self->StoreOf(guest);
  auto serving = StoreSessions::Serve(store, std::move(stream), guest.places());
  co_return co_await serving;
}

std::shared_ptr<StoreSessions> JobStores::StoreOf(const Guest& guest) {
  const std::string name = guest.ticket ? guest.job : "";
  const auto at = stores_.find(name);
  if (at != stores_.end()) {
    return at->second;
  }
  // What has no clients and no keys any more is as good as one that is made anew.
  std::erase_if(stores_, [](const auto& each) { return each.second->Empty(); });
  const size_t most_bytes = guest.ticket ? kMaxJobStoreBytes : kMaxStoreBytes;
  auto store = std::make_shared<StoreSessions>(executor_, life_, most_bytes, bytes_, on_set_);
  stores_.emplace(name, store);
  return store;
}

size_t JobStores::connections() const {
  size_t sum = 0;
  for (const auto& [job, store] : stores_) {
    sum += store->connections();
  }
  return sum;
}

void JobStores::Close() {
  closed_ = true;
  for (const auto& [job, store] : stores_) {
    store->Close();
  }
}

}  // namespace cylon
