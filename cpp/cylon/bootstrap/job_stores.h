/// The stores of a server's jobs: each job that comes by a ticket has one of its own, the others share one.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/rendezvous_guest.h"
#include "cylon/bootstrap/store_sessions.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// What the keys and values of one job that comes by a ticket may take, of kMaxStoreBytes for all jobs together.
inline constexpr size_t kMaxJobStoreBytes = 32 << 20;

/// Belongs to tasks.
class JobStores : public std::enable_shared_from_this<JobStores> {
 public:
  /// `life` and `on_set` as of StoreSessions.
  JobStores(Executor& executor, std::string life, StoreSessions::OnSet on_set)
      : executor_(executor), life_(std::move(life)), on_set_(std::move(on_set)) {}

  /// Answers over `stream`, whose other end is `guest`, until either side ends it. A job reads and writes its own keys
  /// alone, and no more clients of it are there at once than it has places.
  static Co<void> Serve(std::shared_ptr<JobStores> self, std::unique_ptr<Stream> stream, Guest guest);

  /// Those of jobs that have clients or keys.
  size_t stores() const { return stores_.size(); }
  size_t connections() const;
  size_t bytes() const { return *bytes_; }
  /// Ends all connections; later ones end at once.
  void Close();

 private:
  std::shared_ptr<StoreSessions> StoreOf(const Guest& guest);

  Executor& executor_;
  const std::string life_;
  const StoreSessions::OnSet on_set_;
  const std::shared_ptr<size_t> bytes_ = std::make_shared<size_t>(0);
  std::map<std::string, std::shared_ptr<StoreSessions>> stores_;  // by job; "" where there are no tickets
  bool closed_ = false;
};

}  // namespace cylon
