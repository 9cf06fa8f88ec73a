/// Keys and values in memory, with limits, and those who wait for a key.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "cylon/base/executor.h"

namespace cylon {

inline constexpr size_t kMaxKeyBytes = 1 << 10;
inline constexpr size_t kMaxValueBytes = 16 << 20;
/// All keys and values together. A job needs some hundred bytes a rank.
inline constexpr size_t kMaxStoreBytes = 256 << 20;

/// Invalid, with the limit, where a key or value is too long.
arrow::Status CheckKeyAndValue(const std::string& key, const std::string& value = "");
/// Invalid where a key would be gone at once.
arrow::Status CheckTimeToLive(const std::string& key, Duration time_to_live);
arrow::Status NoSuchKey(const std::string& key);
/// `value` as a counter; Invalid where it is not a number.
arrow::Result<int64_t> ParseCounter(const std::string& key, const std::string& value);
/// `value` plus `amount`; Invalid where that does not fit.
arrow::Result<int64_t> AddToCounter(const std::string& key, int64_t value, int64_t amount);

/// Not thread-safe. `now` is the owner's clock, which never goes back.
class KeyValues {
 public:
  using Watcher = std::function<void(const std::string& value)>;

  /// Holds at most `most_bytes`; with others that share `total`, where there is one, at most kMaxStoreBytes.
  explicit KeyValues(size_t most_bytes = kMaxStoreBytes, std::shared_ptr<size_t> total = nullptr)
      : most_bytes_(most_bytes), total_(total ? std::move(total) : std::make_shared<size_t>(0)) {}
  ~KeyValues() { *total_ -= bytes_; }
  KeyValues(const KeyValues&) = delete;
  KeyValues& operator=(const KeyValues&) = delete;
  /// What has expired is gone.
  bool Empty(TimePoint now) {
    Expire(now);
    return values_.empty();
  }

  arrow::Status Set(TimePoint now, const std::string& key, const std::string& value, Duration time_to_live);
  arrow::Result<std::string> SetIfAbsent(TimePoint now, const std::string& key, const std::string& value,
                                         Duration time_to_live);
  arrow::Result<std::string> TryGet(TimePoint now, const std::string& key) const;
  arrow::Result<int64_t> Add(TimePoint now, const std::string& key, int64_t amount, Duration time_to_live);
  void Delete(const std::string& key);

  /// Calls `watcher` once, when `key` is next set. It must not call back.
  uint64_t Watch(const std::string& key, Watcher watcher);
  void Unwatch(uint64_t id);

 private:
  struct Entry {
    std::string value;
    TimePoint expires;
  };
  using Entries = std::unordered_map<std::string, Entry>;

  const std::string* Find(TimePoint now, const std::string& key) const;
  void Erase(Entries::iterator entry);
  void Expire(TimePoint now);

  const size_t most_bytes_;
  const std::shared_ptr<size_t> total_;
  Entries values_;
  std::set<std::pair<TimePoint, std::string>> expiries_;  // of all entries, the next first
  size_t bytes_ = 0;
  uint64_t next_watch_ = 1;
  std::map<std::pair<std::string, uint64_t>, Watcher> watchers_;
  std::unordered_map<uint64_t, std::string> watched_keys_;
};

}  // namespace cylon
