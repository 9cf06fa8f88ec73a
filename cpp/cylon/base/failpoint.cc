// Failpoints: what is asked for where, and doing it.
#include "cylon/base/failpoint.h"

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <random>
#include <thread>

namespace cylon {

namespace {

constexpr auto kPoints = std::to_array<FailpointRow>({
    {"memory.reserve", "memory is taken out of a rank's budget"},
    {"spill.write", "a chunk is written to the spill file"},
    {"spill.read", "a spilled chunk is read back"},
    {"file.write", "a part of a table's file is written"},
    {"file.rename", "a file that is complete gets its name"},
    {"net.dial", "a TCP connection is made"},
    {"net.read", "bytes are read from a socket"},
    {"net.write", "bytes are written to a socket"},
    {"store.request", "the store is asked for something"},
    {"collective.begin", "a collective operation begins"},
    {"exchange.send", "a chunk is sent to another rank"},
    {"exchange.receive", "a chunk of another rank is taken"},
});

enum class Action : uint8_t { kReturn, kSleep, kShort, kPanic };

struct Point {
  Action action = Action::kReturn;
  std::string message;
  int64_t number = 0;  // of milliseconds or bytes
  int64_t first = 1;
  int64_t last = std::numeric_limits<int64_t>::max();
  int percent = 100;
  int64_t hits = 0;
};

/// Of the process, since what fails in it (memory, files, sockets) knows no rank.
struct Armed {
  std::atomic<bool> any{false};
  std::mutex mutex;  // guards what follows
  std::map<std::string, Point, std::less<>> points;
  std::mt19937_64 random;
};

Armed& AllArmed() {
  static Armed armed;
  return armed;
}

arrow::Status BadFailpoint(std::string_view entry, const std::string& what) {
  return arrow::Status::Invalid("the failpoint '", entry, "' ", what,
                                "; expected name=action with return(message), sleep(ms), short(bytes) or panic, then "
                                "@n, @n+ or %percent; for example CYLON_FAILPOINTS='spill.write=return(disk full)@2'");
}

template <typename Number>
bool ReadWhole(std::string_view text, Number* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

// What follows the action: @n, @n+, %p, in any order.
arrow::Status ParseTimes(std::string_view entry, std::string_view text, Point* point) {
  while (!text.empty()) {
    const char kind = text.front();
    const size_t end = text.find_first_of("@%", 1);
    auto word = text.substr(1, end == std::string_view::npos ? end : end - 1);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end);
    if (kind == '@') {
      const bool onward = word.ends_with('+');
      word.remove_suffix(onward ? 1 : 0);
      if (!ReadWhole(word, &point->first) || point->first < 1) {
        return BadFailpoint(entry, "has no number from 1 up after its @");
      }
      point->last = onward ? point->last : point->first;
    } else if (kind != '%' || !ReadWhole(word, &point->percent) || point->percent < 0 || point->percent > 100) {
      return BadFailpoint(entry, "has no number from 0 to 100 after its %");
    }
  }
  return arrow::Status::OK();
}

arrow::Result<Point> ParsePoint(std::string_view entry, std::string_view text) {
  Point point;
  const size_t name_end = text.find_first_of("(@%");
  const auto name = text.substr(0, name_end);
  std::string_view rest = name_end == std::string_view::npos ? std::string_view() : text.substr(name_end);
  std::string_view argument;
  if (rest.starts_with('(')) {
    const size_t close = rest.find(')');
    if (close == std::string_view::npos) {
      return BadFailpoint(entry, "has no ) after its (");
    }
    argument = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
  }
  if (name == "return") {
    point.message = argument.empty() ? "failed on purpose" : std::string(argument);
  } else if (name == "sleep" || name == "short") {
    point.action = name == "sleep" ? Action::kSleep : Action::kShort;
    point.number = 1;
    const bool given = name == "sleep" || !argument.empty();
    if (given && (!ReadWhole(argument, &point.number) || point.number < 1)) {
      return BadFailpoint(entry, "has no number from 1 up in its ()");
    }
  } else if (name == "panic") {
    point.action = Action::kPanic;
  } else {
    return BadFailpoint(entry, "has an unknown action");
  }
  ARROW_RETURN_NOT_OK(ParseTimes(entry, rest, &point));
  return point;
}

bool Exists(std::string_view name) {
  for (const auto& row : kPoints) {
    if (row.name == name) {
      return true;
    }
  }
  return false;
}

// Counts one more hit of `name` by an action that is `is_short` or not; nothing where it is not its turn.
bool Turn(std::string_view name, bool is_short, Point* out) {
  Armed& armed = AllArmed();
  if (!armed.any.load(std::memory_order_relaxed)) {
    return false;
  }
  std::lock_guard<std::mutex> lock(armed.mutex);
  const auto found = armed.points.find(name);
  if (found == armed.points.end() || (found->second.action == Action::kShort) != is_short) {
    return false;
  }
  Point& point = found->second;
  ++point.hits;
  if (point.hits < point.first || point.hits > point.last || static_cast<int>(armed.random() % 100) >= point.percent) {
    return false;
  }
  *out = point;
  return true;
}

}  // namespace

std::span<const FailpointRow> FailpointTable() {
#ifdef CYLON_FAILPOINTS
  return kPoints;
#else
  return {};
#endif
}

arrow::Status SetFailpoints(std::string_view text) {
#ifndef CYLON_FAILPOINTS
  if (!text.empty()) {
    return arrow::Status::Invalid("CYLON_FAILPOINTS is '", text,
                                  "', and this build has no failpoints; unset it, or build with -DCYLON_FAILPOINTS=ON");
  }
#endif
  std::map<std::string, Point, std::less<>> points;
  uint64_t seed = 1;
  while (!text.empty()) {
    const auto entry = text.substr(0, text.find('|'));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos) {
      return BadFailpoint(entry, "has no =");
    }
    const auto name = entry.substr(0, equals);
    const auto value = entry.substr(equals + 1);
    if (name == "seed") {
      if (!ReadWhole(value, &seed)) {
        return BadFailpoint(entry, "has no whole number as its seed");
      }
      continue;
    }
    if (!Exists(name)) {
      return BadFailpoint(entry, "has a name that no place has (`cylon doctor` lists them)");
    }
    ARROW_ASSIGN_OR_RAISE(points[std::string(name)], ParsePoint(entry, value));
  }
  Armed& armed = AllArmed();
  std::lock_guard<std::mutex> lock(armed.mutex);
  armed.points = std::move(points);
  armed.random.seed(seed);
  armed.any.store(!armed.points.empty(), std::memory_order_relaxed);
  return arrow::Status::OK();
}

arrow::Status internal::HitFailpoint(std::string_view name) {
  Point point;
  if (!Turn(name, /*is_short=*/false, &point)) {
    return arrow::Status::OK();
  }
  switch (point.action) {
    case Action::kReturn:
      return arrow::Status::IOError(point.message, " (failpoint ", name, ")");
    case Action::kSleep:
      std::this_thread::sleep_for(std::chrono::milliseconds(point.number));
      return arrow::Status::OK();
    case Action::kPanic:
      std::abort();
    case Action::kShort:
      break;
  }
  return arrow::Status::OK();
}

size_t internal::ShortenAtFailpoint(std::string_view name, size_t size) {
  Point point;
  return Turn(name, /*is_short=*/true, &point) ? std::min(size, static_cast<size_t>(point.number)) : size;
}

}  // namespace cylon
