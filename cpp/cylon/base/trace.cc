// Spans of a rank's work as Chrome trace JSON.
#include "cylon/base/trace.h"

#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <unordered_map>

namespace cylon {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Spans kept per rank; later ones are counted and dropped. About 200 MiB at most.
constexpr size_t kMaxEvents = size_t{1} << 20;

double Microseconds(Duration duration) { return static_cast<double>(duration.count()) / 1e3; }

/// Writes `json` to `path` so that a reader sees all of it or nothing.
arrow::Status WriteWhole(const fs::path& path, const Json& json) {
  fs::path temporary = path;
  temporary += ".tmp-" + std::to_string(::getpid());
  std::error_code error;
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    out.close();
    if (!out) {
      fs::remove(temporary, error);
      return arrow::Status::IOError("cannot write the trace file ", temporary.string(),
                                    "; check that CYLON_TRACE names a directory with free space that may be written");
    }
  }
  fs::rename(temporary, path, error);
  if (error) {
    const std::string why = error.message();
    fs::remove(temporary, error);
    return arrow::Status::IOError("cannot rename ", temporary.string(), " to ", path.string(), ": ", why);
  }
  return arrow::Status::OK();
}

/// The rank in "rank-<rank>.json", or -1.
int RankOfFile(const std::string& name) {
  constexpr std::string_view kPrefix = "rank-";
  constexpr std::string_view kSuffix = ".json";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) || name.size() <= kPrefix.size() + kSuffix.size()) {
    return -1;
  }
  int rank = -1;
  const char* end = name.data() + name.size() - kSuffix.size();
  auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, rank);
  return error == std::errc() && stop == end ? rank : -1;
}

/// True for what Write writes: Merge reads files that anybody may have put there.
bool IsRankTrace(const Json& json) {
  if (!json.is_object() || !json.contains("traceEvents") || !json["traceEvents"].is_array() ||
      !json.contains("cylon") || !json["cylon"].is_object() || !json["cylon"].contains("wall_offset_us") ||
      !json["cylon"]["wall_offset_us"].is_number()) {
    return false;
  }
  for (const auto& event : json["traceEvents"]) {
    if (!event.is_object() || !event.contains("ts") || !event["ts"].is_number()) {
      return false;
    }
  }
  return true;
}

}  // namespace

struct Tracer::Event {
  std::string name;
  TimePoint begin;
  TimePoint end;
  std::thread::id thread;
  std::vector<std::pair<std::string, int64_t>> arguments;
};

Tracer::Tracer(std::string directory, int rank)
    : directory_(std::move(directory)),
      rank_(rank),
      wall_offset_(std::chrono::system_clock::now().time_since_epoch() -
                   std::chrono::steady_clock::now().time_since_epoch()) {}

Tracer::~Tracer() = default;

void Tracer::Record(std::string_view name, TimePoint begin, TimePoint end,
                    const std::vector<std::pair<std::string, int64_t>>& arguments) {
  if (!enabled()) {
    return;
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (events_.size() >= kMaxEvents) {
    ++dropped_;
    return;
  }
  events_.push_back({std::string(name), begin, end, std::this_thread::get_id(), arguments});
}

arrow::Status Tracer::Write() {
  if (!enabled()) {
    return arrow::Status::OK();
  }
  Json events = Json::array();
  int64_t dropped = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    dropped = dropped_;
    // Small numbers read better than thread ids; the first thread seen is 0.
    std::unordered_map<std::thread::id, int> threads;
    for (const auto& event : events_) {
      const int thread = threads.emplace(event.thread, static_cast<int>(threads.size())).first->second;
      Json arguments = Json::object();
      for (const auto& [name, value] : event.arguments) {
        arguments[name] = value;
      }
      events.push_back({{"name", event.name},
                        {"ph", "X"},
                        {"ts", Microseconds(event.begin.time_since_epoch())},
                        {"dur", Microseconds(event.end - event.begin)},
                        {"pid", rank_},
                        {"tid", thread},
                        {"args", std::move(arguments)}});
    }
  }
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) {
    return arrow::Status::IOError("cannot make the trace directory ", directory_, ": ", error.message(),
                                  "; set CYLON_TRACE to a directory that may be written");
  }
  // Chrome and Perfetto skip keys that they do not know.
  Json json{{"displayTimeUnit", "ms"},
            {"cylon", {{"rank", rank_}, {"wall_offset_us", Microseconds(wall_offset_)}, {"dropped", dropped}}},
            {"traceEvents", std::move(events)}};
  return WriteWhole(fs::path(directory_) / ("rank-" + std::to_string(rank_) + ".json"), json);
}

arrow::Result<std::string> Tracer::Merge(const std::string& directory) {
  std::map<int, Json> ranks;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const int rank = RankOfFile(entry->path().filename().string());
    if (rank < 0) {
      continue;
    }
    std::ifstream in(entry->path(), std::ios::binary);
    Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (!IsRankTrace(json)) {
      return arrow::Status::Invalid(entry->path().string(),
                                    " is not a trace that a rank wrote; remove it, or choose another CYLON_TRACE");
    }
    ranks.emplace(rank, std::move(json));
  }
  if (error) {
    return arrow::Status::IOError("cannot read the trace directory ", directory, ": ", error.message());
  }
  if (ranks.empty()) {
    return arrow::Status::Invalid("there is no rank-<rank>.json in ", directory,
                                  "; run the program with CYLON_TRACE=", directory, " first");
  }
  // Hosts have monotonic clocks of their own; wall time brings their ranks together. Times count from the first span,
  // so that a double keeps the nanoseconds.
  double first = std::numeric_limits<double>::infinity();
  for (const auto& [rank, json] : ranks) {
    const auto offset = json["cylon"]["wall_offset_us"].get<double>();
    for (const auto& event : json["traceEvents"]) {
      first = std::min(first, event["ts"].get<double>() + offset);
    }
  }
  Json events = Json::array();
  for (auto& [rank, json] : ranks) {
    const auto offset = json["cylon"]["wall_offset_us"].get<double>();
    events.push_back(
        {{"name", "process_name"}, {"ph", "M"}, {"pid", rank}, {"args", {{"name", "rank " + std::to_string(rank)}}}});
    events.push_back({{"name", "process_sort_index"}, {"ph", "M"}, {"pid", rank}, {"args", {{"sort_index", rank}}}});
    for (auto& event : json["traceEvents"]) {
      event["ts"] = event["ts"].get<double>() + offset - first;
      events.push_back(std::move(event));
    }
  }
  const fs::path path = fs::path(directory) / "trace.json";
  ARROW_RETURN_NOT_OK(WriteWhole(path, {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}}));
  return path.string();
}

TraceSpan::TraceSpan(Tracer& tracer, std::string_view name) : tracer_(tracer.enabled() ? &tracer : nullptr) {
  if (tracer_ != nullptr) {
    name_ = name;
    begin_ = std::chrono::steady_clock::now();
  }
}

TraceSpan::~TraceSpan() {
  if (tracer_ != nullptr) {
    tracer_->Record(name_, begin_, std::chrono::steady_clock::now(), arguments_);
  }
}

void TraceSpan::Set(std::string_view name, int64_t value) {
  if (tracer_ == nullptr) {
    return;
  }
  for (auto& [known, number] : arguments_) {
    if (known == name) {
      number = value;
      return;
    }
  }
  arguments_.emplace_back(name, value);
}

}  // namespace cylon
