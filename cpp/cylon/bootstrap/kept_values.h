/// What a client has put into a store, so that it can be put there again when the server has lost it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/executor.h"

namespace cylon {

/// Belongs to tasks. A value stands again where nobody else has set the key meanwhile, a counter at least where this
/// client saw it, each for the time that it had left.
class KeptValues {
 public:
  struct Entry {
    std::string key;
    std::string value;  ///< of a counter: the number as the store's protocol writes it
    bool counts = false;
    int64_t live_ms = 0;
  };

  void Put(TimePoint now, const std::string& key, std::string value, bool counts, Duration time_to_live) {
    // Those that have expired, now and then: a job writes some keys, and the same ones over and over.
    if (kept_.size() % 1024 == 1023) {
      Expire(now);
    }
    const TimePoint expires = time_to_live < kNever - now ? now + time_to_live : kNever;
    kept_.insert_or_assign(key, Kept{std::move(value), counts, expires});
  }
  void Erase(const std::string& key) { kept_.erase(key); }
  /// All that has not expired.
  std::vector<Entry> Standing(TimePoint now) {
    Expire(now);
    std::vector<Entry> out;
    for (const auto& [key, kept] : kept_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(
          std::min<Duration>(kept.expires - now, Duration::max() - std::chrono::milliseconds(1)));
      out.push_back({key, kept.value, kept.counts, left.count()});
    }
    return out;
  }

 private:
  struct Kept {
    std::string value;
    bool counts;
    TimePoint expires;
  };
  void Expire(TimePoint now) {
    std::erase_if(kept_, [now](const auto& entry) { return entry.second.expires <= now; });
  }

  std::map<std::string, Kept> kept_;
};

}  // namespace cylon
