// The table of options, and values out of text.
#include "cylon/base/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>
#include <variant>

#include "cylon/base/launcher.h"

// POSIX: the process's environment.
extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace cylon {

namespace {

/// How a value is written.
enum class Kind : uint8_t { kText, kInteger, kBytes, kSeconds, kSecondsOrNone, kSwitch };

using Member =
    std::variant<std::string Options::*, int Options::*, int64_t Options::*, double Options::*, bool Options::*>;

struct Setting {
  OptionRow row;
  Kind kind;
  Member member;
  int64_t least = 0;  // of numbers
};

constexpr int64_t kNoNumber = std::numeric_limits<int64_t>::min();

constexpr auto kSettings = std::to_array<Setting>({
    {{"job", "CYLON_JOB", "", "", "job id; ranks of one job meet under it"}, Kind::kText, &Options::job},
    {{"rank", "CYLON_RANK", "-1", "", "this process's rank; -1: drawn from the store"},
     Kind::kInteger,
     &Options::rank,
     -1},
    {{"world_size", "CYLON_WORLD_SIZE", "0", "ranks", "ranks of the job; 0: one process, no launcher"},
     Kind::kInteger,
     &Options::world_size},
    {{"local_rank", "CYLON_LOCAL_RANK", "-1", "", "position among the ranks of this host; -1: not known"},
     Kind::kInteger,
     &Options::local_rank,
     -1},
    {{"local_size", "CYLON_LOCAL_SIZE", "1", "ranks", "ranks on this host; its cores and memory are divided by it"},
     Kind::kInteger,
     &Options::local_size,
     1},
    {{"epoch", "CYLON_EPOCH", "", "", "tells runs of one job apart; set by a launcher, else agreed in the store"},
     Kind::kText,
     &Options::epoch},
    {{"rejoin", "CYLON_REJOIN", "0", "", "this process takes the place of a rank that failed, when the others rejoin"},
     Kind::kSwitch,
     &Options::rejoin},
    {{"store", "CYLON_STORE", "", "",
      "where ranks meet: host:port, redis://user:password@host:port or file:///shared/directory; empty: the server of "
      "transport punch or redis"},
     Kind::kText,
     &Options::store},
    {{"secret", "CYLON_SECRET", "", "", "the job's secret, 64 hexadecimal digits"}, Kind::kText, &Options::secret},
    {{"secret_file", "CYLON_SECRET_FILE", "", "", "a file with mode 0600 that holds the secret"},
     Kind::kText,
     &Options::secret_file},
    {{"bind_host", "CYLON_BIND", "", "", "address to listen on; empty: loopback only"},
     Kind::kText,
     &Options::bind_host},
    {{"transport", "CYLON_TRANSPORT", "", "",
      "how ranks reach each other: auto (or empty: shm within a host, tcp between hosts), tcp, shm, punch: from behind "
      "gateways, redis: through a server, or object: through an object store; or several, as in punch,redis: for each "
      "pair the one that the policy prefers"},
     Kind::kText,
     &Options::transport},
    {{"policy", "CYLON_POLICY", "fastest", "",
      "between several transports: fastest, cheapest, or how much money counts beside time, from 0 to 1; rank 0's "
      "counts"},
     Kind::kText,
     &Options::policy},
    {{"prices", "CYLON_PRICES", "", "", "a JSON file with what channels and ranks cost; empty: a dated list of AWS"},
     Kind::kText,
     &Options::prices},
    {{"redis", "CYLON_REDIS", "", "", "of transport redis: redis://... of the server; empty: the store's"},
     Kind::kText,
     &Options::redis},
    {{"object_store", "CYLON_OBJECT_STORE", "", "",
      "of transport object: s3://bucket/prefix?region=... (endpoint_override=host:port for others than AWS) or "
      "file:///shared/directory"},
     Kind::kText,
     &Options::object_store},
    {{"rendezvous", "CYLON_RENDEZVOUS", "", "",
      "of transport punch: host:port of cylon-rendezvous; empty: the store's"},
     Kind::kText,
     &Options::rendezvous},
    {{"ticket", "CYLON_TICKET", "", "",
      "what the operator of the rendezvous server has issued for this job, where it lets in by tickets"},
     Kind::kText,
     &Options::ticket},
    {{"ticket_file", "CYLON_TICKET_FILE", "", "", "a file with mode 0600 that holds the ticket"},
     Kind::kText,
     &Options::ticket_file},
    {{"plain_text", "CYLON_PLAIN_TEXT", "0", "", "off loopback too, connections between ranks are not encrypted"},
     Kind::kSwitch,
     &Options::plain_text},
    {{"tls_ca", "CYLON_TLS_CA", "", "",
      "a PEM file with who signs the ranks' certificates; with any of the tls options, encryption goes by certificates "
      "and not by the secret"},
     Kind::kText,
     &Options::tls_ca},
    {{"tls_certificate", "CYLON_TLS_CERTIFICATE", "", "", "a PEM file with this host's certificate chain"},
     Kind::kText,
     &Options::tls_certificate},
    {{"tls_key", "CYLON_TLS_KEY", "", "", "a PEM file with the key of that certificate, without a passphrase"},
     Kind::kText,
     &Options::tls_key},
    {{"join_deadline_s", "CYLON_JOIN_DEADLINE", "60", "seconds", "until every rank of the job has come"},
     Kind::kSeconds,
     &Options::join_deadline_s},
    {{"connect_deadline_s", "CYLON_CONNECT_DEADLINE", "10", "seconds", "one connection with its handshake"},
     Kind::kSeconds,
     &Options::connect_deadline_s},
    {{"close_deadline_s", "CYLON_CLOSE_DEADLINE", "5", "seconds", "saying goodbye to the other ranks"},
     Kind::kSeconds,
     &Options::close_deadline_s},
    {{"peer_timeout_s", "CYLON_PEER_TIMEOUT", "10", "seconds", "silence after which a rank or a link counts as lost"},
     Kind::kSeconds,
     &Options::peer_timeout_s},
    {{"keep_alive_s", "CYLON_KEEP_ALIVE", "15", "seconds",
      "an idle connection is pinged from both ends at least this often, so that no gateway on the way forgets it"},
     Kind::kSeconds,
     &Options::keep_alive_s},
    {{"slow_warning_s", "CYLON_SLOW_WARNING", "30", "seconds",
      "a wait of so long, and whenever it has doubled, is logged with what the awaited ranks do; 0: never"},
     Kind::kSecondsOrNone,
     &Options::slow_warning_s},
    {{"progress_deadline_s", "CYLON_PROGRESS_DEADLINE", "0", "seconds",
      "an operation in which nothing moves at this rank; 0: none"},
     Kind::kSecondsOrNone,
     &Options::progress_deadline_s},
    {{"deadline_s", "CYLON_DEADLINE", "0", "seconds", "the whole run, from joining on; 0: none"},
     Kind::kSecondsOrNone,
     &Options::deadline_s},
    {{"time_left_s", "CYLON_TIME_LEFT", "0", "seconds",
      "this process will be ended in so many seconds, as a cloud function is: it leaves shortly before, and the others "
      "are told why; 0: nobody ends it"},
     Kind::kSecondsOrNone,
     &Options::time_left_s},
    {{"threads", "CYLON_THREADS", "0", "threads", "threads of this rank; 0: the host's or cgroup's cores / local_size"},
     Kind::kInteger,
     &Options::threads},
    {{"memory_bytes", "CYLON_MEMORY", "0", "bytes",
      "memory that this rank may take, a sixth of it for what is not counted; 0: 80 % of what machine or cgroup leaves "
      "/ "
      "local_size"},
     Kind::kBytes,
     &Options::memory_bytes},
    {{"spill_directory", "CYLON_SPILL_DIR", "", "", "where data goes when memory is short; empty: TMPDIR, else /tmp"},
     Kind::kText,
     &Options::spill_directory},
    {{"spill_always", "CYLON_SPILL_ALWAYS", "0", "", "every chunk goes to disk: for tests"},
     Kind::kSwitch,
     &Options::spill_always},
    {{"chunk_bytes", "CYLON_CHUNK_BYTES", "4MiB", "bytes",
      "an exchanged chunk, at most; also limited to memory / (8 * world_size)"},
     Kind::kBytes,
     &Options::chunk_bytes,
     1},
    {{"morsel_rows", "CYLON_MORSEL_ROWS", "1048576", "rows", "rows that a kernel works on at a time"},
     Kind::kInteger,
     &Options::morsel_rows,
     1},
    {{"piece_bytes", "CYLON_PIECE_BYTES", "1MiB", "bytes", "a large message travels in pieces of this size"},
     Kind::kBytes,
     &Options::piece_bytes,
     1},
    {{"eager_bytes", "CYLON_EAGER_BYTES", "0", "bytes",
      "what a peer may send before it is granted more; 0: 32 MiB / world_size, at least 64 KiB, at most 16 MiB"},
     Kind::kBytes,
     &Options::eager_bytes},
    {{"shm_ring_bytes", "CYLON_SHM_RING_BYTES", "0", "bytes",
      "shared memory for each way between two ranks of a host, a power of two; 0: 1 MiB, less for more than 8 ranks"},
     Kind::kBytes,
     &Options::shm_ring_bytes},
    {{"spin_us", "CYLON_SPIN", "-1", "microseconds",
      "how long a wait looks at shared memory before it sleeps; -1: 50, or 20 where ranks outnumber cores"},
     Kind::kInteger,
     &Options::spin_us,
     -1},
    {{"failpoints", "CYLON_FAILPOINTS", "", "",
      "what fails on purpose, in builds that can (CONTRIBUTING.md): for tests"},
     Kind::kText,
     &Options::failpoints},
    {{"trace_directory", "CYLON_TRACE", "", "", "where trace files are written; empty: no trace"},
     Kind::kText,
     &Options::trace_directory},
    {{"log_level", "CYLON_LOG_LEVEL", "warning", "", "trace, debug, info, warning, error or off"},
     Kind::kText,
     &Options::log_level},
    {{"progress", "CYLON_PROGRESS", "1", "", "progress lines on a terminal"}, Kind::kSwitch, &Options::progress},
    {{"stall_reports", "CYLON_STALL_REPORTS", "1", "",
      "SIGUSR1 makes a rank print what it waits for, unless the program handles that signal; 0: it is left alone"},
     Kind::kSwitch,
     &Options::stall_reports},
});

constexpr auto kRows = [] {
  std::array<OptionRow, kSettings.size()> rows{};
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = kSettings[i].row;
  }
  return rows;
}();

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return lower;
}

/// A number at the front of `text`; what follows it stays in `text`.
template <typename Number>
bool TakeNumber(std::string_view* text, Number* value) {
  auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), *value);
  if (error != std::errc()) {
    return false;
  }
  text->remove_prefix(static_cast<size_t>(stop - text->data()));
  return true;
}

int64_t ParseInteger(std::string_view text) {
  int64_t value = 0;
  return TakeNumber(&text, &value) && text.empty() ? value : kNoNumber;
}

/// "4194304", "4M", "4MiB", "1.5 G", "4MB" (a thousand thousands).
int64_t ParseBytes(std::string_view text) {
  double value = 0;
  if (!TakeNumber(&text, &value) || !std::isfinite(value) || value < 0) {
    return kNoNumber;
  }
  while (!text.empty() && text.front() == ' ') {
    text.remove_prefix(1);
  }
  std::string unit = Lower(text);
  const double base = unit.size() == 2 && unit.back() == 'b' ? 1000 : 1024;
  if (unit == "b") {
    unit.clear();
  }
  if (!unit.empty()) {
    const auto power = std::string_view("kmgt").find(unit.front());
    const std::string_view rest = std::string_view(unit).substr(1);
    if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) {
      return kNoNumber;
    }
    value *= std::pow(base, static_cast<double>(power + 1));
  }
  constexpr double kMost = 9e18;
  return value < kMost ? static_cast<int64_t>(value) : kNoNumber;
}

arrow::Status Bad(const Setting& setting, std::string_view value, std::string_view expected) {
  return arrow::Status::Invalid("option '", setting.row.name, "' (", setting.row.environment, ") is '", value,
                                "'; expected ", expected, "; for example ", setting.row.environment, "=",
                                setting.kind == Kind::kBytes ? "4GiB" : setting.row.default_text);
}

arrow::Status SetInteger(const Setting& setting, std::string_view value, Options* options) {
  const bool bytes = setting.kind == Kind::kBytes;
  const int64_t number = bytes ? ParseBytes(value) : ParseInteger(value);
  const auto* narrow = std::get_if<int Options::*>(&setting.member);
  const int64_t most = narrow != nullptr ? std::numeric_limits<int>::max() : std::numeric_limits<int64_t>::max();
  if (number == kNoNumber || number < setting.least || number > most) {
    return Bad(setting, value,
               (bytes ? "a number of bytes, with K, M, G or T (or KiB, MiB, ...), from " : "a whole number from ") +
                   std::to_string(setting.least) + " up");
  }
  if (narrow != nullptr) {
    options->*(*narrow) = static_cast<int>(number);
  } else {
    options->*(std::get<int64_t Options::*>(setting.member)) = number;
  }
  return arrow::Status::OK();
}

arrow::Status Set(const Setting& setting, std::string_view value, Options* options) {
  switch (setting.kind) {
    case Kind::kText:
      options->*(std::get<std::string Options::*>(setting.member)) = std::string(value);
      return arrow::Status::OK();
    case Kind::kInteger:
    case Kind::kBytes:
      return SetInteger(setting, value, options);
    case Kind::kSeconds:
    case Kind::kSecondsOrNone: {
      double seconds = 0;
      std::string_view rest = value;
      // The limit keeps nanoseconds within 64 bits.
      constexpr double kMost = 1e9;
      const bool none = setting.kind == Kind::kSecondsOrNone;
      if (!TakeNumber(&rest, &seconds) || !rest.empty() || !(seconds > 0 || (none && seconds == 0)) ||
          seconds > kMost) {
        return Bad(setting, value, none ? "a number of seconds, or 0 for none" : "a number of seconds above 0");
      }
      options->*(std::get<double Options::*>(setting.member)) = seconds;
      return arrow::Status::OK();
    }
    case Kind::kSwitch: {
      const std::string word = Lower(value);
      const bool on = word == "1" || word == "true" || word == "yes" || word == "on";
      if (!on && word != "0" && word != "false" && word != "no" && word != "off") {
        return Bad(setting, value, "1 or 0 (true, false, yes, no, on, off)");
      }
      options->*(std::get<bool Options::*>(setting.member)) = on;
      return arrow::Status::OK();
    }
  }
  return arrow::Status::UnknownError("option without a kind");
}

std::string_view Get(const std::map<std::string, std::string>& environment, std::string_view name) {
  auto found = environment.find(std::string(name));
  return found == environment.end() ? std::string_view() : std::string_view(found->second);
}

arrow::Status CheckPlace(const Options& options) {
  if (options.rank >= 0 && options.world_size == 0) {
    return arrow::Status::Invalid("CYLON_RANK is ", options.rank,
                                  ", but CYLON_WORLD_SIZE is missing; set it to the number of ranks");
  }
  if (options.world_size > 0 && options.rank >= options.world_size) {
    return arrow::Status::Invalid("CYLON_RANK is ", options.rank, " and CYLON_WORLD_SIZE is ", options.world_size,
                                  "; a rank is less than the number of ranks; correct one of them");
  }
  if (options.world_size > 0 && options.local_rank >= options.world_size) {
    return arrow::Status::Invalid("the local rank is ", options.local_rank, " and the world size is ",
                                  options.world_size,
                                  "; a local rank is less than the number of ranks; correct CYLON_LOCAL_RANK");
  }
  return arrow::Status::OK();
}

}  // namespace

std::span<const OptionRow> OptionTable() { return kRows; }

arrow::Status SetOption(Options* options, std::string_view name, std::string_view value) {
  for (const auto& setting : kSettings) {
    if (setting.row.name == name) {
      return Set(setting, value, options);
    }
  }
  std::string known;
  for (const auto& row : kRows) {
    known += known.empty() ? "" : ", ";
    known += row.name;
  }
  return arrow::Status::Invalid("there is no option '", name, "'; the options are ", known);
}

arrow::Result<Options> OptionsFrom(const std::map<std::string, std::string>& environment) {
  Options options;
  for (const auto& setting : kSettings) {
    // A variable that is set to nothing counts as not set.
    const auto value = Get(environment, setting.row.environment);
    if (!value.empty()) {
      ARROW_RETURN_NOT_OK(Set(setting, value, &options));
    }
  }
  const bool own = !Get(environment, "CYLON_RANK").empty() || !Get(environment, "CYLON_WORLD_SIZE").empty();
  if (!own) {
    ARROW_RETURN_NOT_OK(internal::ApplyLauncher(environment, &options));
  }
  ARROW_RETURN_NOT_OK(CheckPlace(options));
  if (options.spill_directory.empty()) {
    options.spill_directory = Get(environment, "TMPDIR");
  }
  return options;
}

arrow::Result<Options> OptionsFromEnvironment() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) {
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return OptionsFrom(environment);
}

}  // namespace cylon
