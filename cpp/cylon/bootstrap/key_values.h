/// Keys and values in memory, with limits, and those who wait for a key.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>

namespace cylon {

inline constexpr size_t kMaxKeyBytes = 1 << 10;
inline constexpr size_t kMaxValueBytes = 16 << 20;
/// All keys and values together. A job needs some hundred bytes a rank.
inline constexpr size_t kMaxStoreBytes = 256 << 20;

/// Invalid, with the limit, where a key or value is too long.
arrow::Status CheckKeyAndValue(const std::string& key, const std::string& value = "");
arrow::Status NoSuchKey(const std::string& key);
/// `value` as a counter; Invalid where it is not a number.
arrow::Result<int64_t> ParseCounter(const std::string& key, const std::string& value);
/// `value` plus `amount`; Invalid where that does not fit.
arrow::Result<int64_t> AddToCounter(const std::string& key, int64_t value, int64_t amount);

/// Not thread-safe.
class KeyValues {
 public:
  using Watcher = std::function<void(const std::string& value)>;

  arrow::Status Set(const std::string& key, const std::string& value);
  arrow::Result<std::string> SetIfAbsent(const std::string& key, const std::string& value);
  arrow::Result<std::string> TryGet(const std::string& key) const;
  arrow::Result<int64_t> Add(const std::string& key, int64_t amount);
  void Delete(const std::string& key);

  /// Calls `watcher` once, when `key` is next set. It must not call back.
  uint64_t Watch(const std::string& key, Watcher watcher);
  void Unwatch(uint64_t id);

 private:
  std::unordered_map<std::string, std::string> values_;
  size_t bytes_ = 0;
  uint64_t next_watch_ = 1;
  std::map<std::pair<std::string, uint64_t>, Watcher> watchers_;
  std::unordered_map<uint64_t, std::string> watched_keys_;
};

}  // namespace cylon
