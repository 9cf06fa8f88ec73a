// Keys and values in memory.
#include "cylon/bootstrap/key_values.h"

#include <charconv>

namespace cylon {

arrow::Status CheckKeyAndValue(const std::string& key, const std::string& value) {
  if (key.empty() || key.size() > kMaxKeyBytes) {
    return arrow::Status::Invalid("a key of the store has ", key.size(), " bytes; it must have 1 to ", kMaxKeyBytes);
  }
  if (value.size() > kMaxValueBytes) {
    return arrow::Status::Invalid("the value for '", key, "' has ", value.size(), " bytes; the store takes at most ",
                                  kMaxValueBytes);
  }
  return arrow::Status::OK();
}

arrow::Status NoSuchKey(const std::string& key) { return arrow::Status::KeyError("the store has no key '", key, "'"); }

arrow::Result<int64_t> ParseCounter(const std::string& key, const std::string& value) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) {
    return arrow::Status::Invalid("the value of '", key,
                                  "' is not a number, so nothing can be added to it; use a key of ",
                                  "its own for a counter");
  }
  return number;
}

arrow::Result<int64_t> AddToCounter(const std::string& key, int64_t value, int64_t amount) {
  int64_t sum = 0;
  if (__builtin_add_overflow(value, amount, &sum)) {
    return arrow::Status::Invalid("the counter '", key, "' is ", value, "; adding ", amount, " does not fit 64 bits");
  }
  return sum;
}

arrow::Status KeyValues::Set(const std::string& key, const std::string& value) {
  ARROW_RETURN_NOT_OK(CheckKeyAndValue(key, value));
  const auto old = values_.find(key);
  const size_t freed = old == values_.end() ? 0 : key.size() + old->second.size();
  const size_t bytes = bytes_ - freed + key.size() + value.size();
  if (bytes > kMaxStoreBytes) {
    return arrow::Status::CapacityError("the store is full: it holds ", bytes_, " of ", kMaxStoreBytes,
                                        " bytes; restart its server, or use one for fewer jobs");
  }
  bytes_ = bytes;
  values_[key] = value;
  const auto begin = watchers_.lower_bound({key, 0});
  auto end = begin;
  for (; end != watchers_.end() && end->first.first == key; ++end) {
    watched_keys_.erase(end->first.second);
    end->second(value);
  }
  watchers_.erase(begin, end);
  return arrow::Status::OK();
}

arrow::Result<std::string> KeyValues::SetIfAbsent(const std::string& key, const std::string& value) {
  const auto there = values_.find(key);
  if (there != values_.end()) {
    return there->second;
  }
  ARROW_RETURN_NOT_OK(Set(key, value));
  return value;
}

arrow::Result<std::string> KeyValues::TryGet(const std::string& key) const {
  const auto there = values_.find(key);
  if (there == values_.end()) {
    return NoSuchKey(key);
  }
  return there->second;
}

arrow::Result<int64_t> KeyValues::Add(const std::string& key, int64_t amount) {
  const auto there = values_.find(key);
  int64_t value = 0;
  if (there != values_.end()) {
    ARROW_ASSIGN_OR_RAISE(value, ParseCounter(key, there->second));
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t sum, AddToCounter(key, value, amount));
  ARROW_RETURN_NOT_OK(Set(key, std::to_string(sum)));
  return sum;
}

void KeyValues::Delete(const std::string& key) {
  const auto there = values_.find(key);
  if (there != values_.end()) {
    bytes_ -= key.size() + there->second.size();
    values_.erase(there);
  }
}

uint64_t KeyValues::Watch(const std::string& key, Watcher watcher) {
  const uint64_t id = next_watch_++;
  watchers_.emplace(std::pair(key, id), std::move(watcher));
  watched_keys_.emplace(id, key);
  return id;
}

void KeyValues::Unwatch(uint64_t id) {
  const auto key = watched_keys_.find(id);
  if (key != watched_keys_.end()) {
    watchers_.erase({key->second, id});
    watched_keys_.erase(key);
  }
}

}  // namespace cylon
