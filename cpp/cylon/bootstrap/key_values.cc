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

arrow::Status CheckTimeToLive(const std::string& key, Duration time_to_live) {
  if (time_to_live < std::chrono::milliseconds(1)) {
    return arrow::Status::Invalid("the time to live of '", key, "' is ", time_to_live.count(),
                                  " ns; it has to be a millisecond or more");
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

const std::string* KeyValues::Find(TimePoint now, const std::string& key) const {
  const auto there = values_.find(key);
  return there == values_.end() || there->second.expires <= now ? nullptr : &there->second.value;
}

void KeyValues::Erase(Entries::iterator entry) {
  const size_t gone = entry->first.size() + entry->second.value.size();
  bytes_ -= gone;
  *total_ -= gone;
  expiries_.erase({entry->second.expires, entry->first});
  values_.erase(entry);
}

void KeyValues::Expire(TimePoint now) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    Erase(values_.find(expiries_.begin()->second));
  }
}

arrow::Status KeyValues::Set(TimePoint now, const std::string& key, const std::string& value, Duration time_to_live) {
  ARROW_RETURN_NOT_OK(CheckKeyAndValue(key, value));
  ARROW_RETURN_NOT_OK(CheckTimeToLive(key, time_to_live));
  Expire(now);
  const auto old = values_.find(key);
  const size_t freed = old == values_.end() ? 0 : key.size() + old->second.value.size();
  const size_t added = key.size() + value.size();
  if (bytes_ - freed + added > most_bytes_ || *total_ - freed + added > kMaxStoreBytes) {
    return arrow::Status::CapacityError("the store is full: it holds ", bytes_, " of ", most_bytes_,
                                        " bytes; restart its server, or use one for fewer jobs");
  }
  if (old != values_.end()) {
    Erase(old);
  }
  bytes_ += added;
  *total_ += added;
  const TimePoint expires = time_to_live < kNever - now ? now + time_to_live : kNever;
  values_.emplace(key, Entry{value, expires});
  expiries_.emplace(expires, key);
  const auto begin = watchers_.lower_bound({key, 0});
  auto end = begin;
  for (; end != watchers_.end() && end->first.first == key; ++end) {
    watched_keys_.erase(end->first.second);
    end->second(value);
  }
  watchers_.erase(begin, end);
  return arrow::Status::OK();
}

arrow::Result<std::string> KeyValues::SetIfAbsent(TimePoint now, const std::string& key, const std::string& value,
                                                  Duration time_to_live) {
  if (const std::string* there = Find(now, key)) {
    return *there;
  }
  ARROW_RETURN_NOT_OK(Set(now, key, value, time_to_live));
  return value;
}

arrow::Result<std::string> KeyValues::TryGet(TimePoint now, const std::string& key) const {
  const std::string* there = Find(now, key);
  return there == nullptr ? arrow::Result<std::string>(NoSuchKey(key)) : *there;
}

arrow::Result<int64_t> KeyValues::Add(TimePoint now, const std::string& key, int64_t amount, Duration time_to_live) {
  int64_t value = 0;
  if (const std::string* there = Find(now, key)) {
    ARROW_ASSIGN_OR_RAISE(value, ParseCounter(key, *there));
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t sum, AddToCounter(key, value, amount));
  ARROW_RETURN_NOT_OK(Set(now, key, std::to_string(sum), time_to_live));
  return sum;
}

void KeyValues::Delete(const std::string& key) {
  const auto there = values_.find(key);
  if (there != values_.end()) {
    Erase(there);
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
