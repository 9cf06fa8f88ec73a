/// A small shared key-value store in which the ranks of a job find each other.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/base/options.h"

namespace cylon {

/// How long what a run put into a store stays where nobody deletes it: what crashed runs have left is gone a day later.
/// Ranks of one run do not come further apart, unless they are given more time to join.
inline constexpr Duration kRunTimeToLive = std::chrono::hours(24);

/// Keys and values are bytes (keys at most 1 KiB, values at most 16 MiB). A key is gone `time_to_live` after it was
/// last written (1 ms or more; Invalid where it is less), whoever crashes. Futures finish in tasks of the executor that
/// the store was opened with; call from its tasks or from any thread.
class CYLON_EXPORT Store {
 public:
  virtual ~Store();
  virtual arrow::Future<> Set(const std::string& key, const std::string& value, Duration time_to_live) = 0;
  /// Sets where there is none; returns the value that stands now, ours or the earlier one, whose time goes on as it
  /// did.
  virtual arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value,
                                                 Duration time_to_live) = 0;
  /// Waits until the key is there. DeadlineError that names the key at `deadline`.
  virtual arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) = 0;
  /// The value now, or KeyError where there is none.
  virtual arrow::Future<std::string> TryGet(const std::string& key) = 0;
  /// Adds to a counter (absent counts as 0) and returns its new value. Invalid where the value is not a number.
  virtual arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) = 0;
  /// Deleting what is not there is fine.
  virtual arrow::Future<> Delete(const std::string& key) = 0;
};

/// The data of an in-memory store; each rank (thread) opens its own face onto it.
class CYLON_EXPORT MemoryStoreData;
CYLON_EXPORT std::shared_ptr<MemoryStoreData> MakeMemoryStoreData();
CYLON_EXPORT std::unique_ptr<Store> OpenMemoryStore(std::shared_ptr<MemoryStoreData> data, Executor& executor);

/// Opens the store that `options.store` names: "host:port" or "tcp://host:port" (needs the job's secret),
/// "file:///directory", "redis://…" or "rediss://…" (see RedisAddress). Those over TCP need an AsioExecutor. Waits for
/// a server that is not up yet until `deadline`; the error then names it.
CYLON_EXPORT arrow::Result<std::unique_ptr<Store>> OpenStore(const Options& options, Executor& executor,
                                                             TimePoint deadline);

/// `store` as messages may show it: without a password.
CYLON_EXPORT std::string ReadableStore(const std::string& store);

}  // namespace cylon
