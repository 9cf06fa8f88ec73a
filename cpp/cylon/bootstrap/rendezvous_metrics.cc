// A rendezvous server's counters for Prometheus.
#include "cylon/bootstrap/rendezvous_metrics.h"

#include <array>
#include <string_view>

namespace cylon {

namespace {

struct Metric {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  uint64_t RendezvousCounters::* value;
};

constexpr std::string_view kPrefix = "cylon_rendezvous_";

constexpr auto kMetrics = std::to_array<Metric>({
    {"sessions", "gauge", "Processes that have a session.", &RendezvousCounters::sessions},
    {"sessions_begun_total", "counter", "Sessions begun, with those of processes that came again.",
     &RendezvousCounters::sessions_begun},
    {"sessions_refused_total", "counter", "Sessions refused: too many, or under another's name.",
     &RendezvousCounters::sessions_refused},
    {"sessions_ended_total", "counter", "Sessions ended by the server: they did not read, or were silent.",
     &RendezvousCounters::sessions_ended},
    {"jobs", "gauge", "Jobs that have sessions.", &RendezvousCounters::jobs},
    {"letters_total", "counter", "Letters passed on.", &RendezvousCounters::letters},
    {"letters_refused_total", "counter", "Letters to nobody, too long, or without room.",
     &RendezvousCounters::letters_refused},
    {"probes_total", "counter", "Probes answered.", &RendezvousCounters::probes},
    {"relays", "gauge", "Pairs that are relayed.", &RendezvousCounters::relays},
    {"relays_waiting", "gauge", "Ends of relays whose other has not come.", &RendezvousCounters::relays_waiting},
    {"relays_joined_total", "counter", "Pairs joined.", &RendezvousCounters::relays_joined},
    {"relays_refused_total", "counter", "Ends of relays refused: the other did not come, or a limit was reached.",
     &RendezvousCounters::relays_refused},
    {"relayed_bytes_total", "counter", "Bytes relayed, in both directions.", &RendezvousCounters::relayed_bytes},
    {"worlds_total", "counter", "Worlds whose ranks have met in a store of this server.", &RendezvousCounters::worlds},
    {"strangers", "gauge", "Connections that have not proven themselves yet.", &RendezvousCounters::strangers},
    {"store_clients", "gauge", "Connections to stores.", &RendezvousCounters::store_clients},
    {"store_bytes", "gauge", "Keys and values held.", &RendezvousCounters::store_bytes},
    {"queued_bytes", "gauge", "Bytes that sessions were sent and have not read.", &RendezvousCounters::queued_bytes},
});

void Begin(std::string* out, std::string_view name, std::string_view type, std::string_view help) {
  for (const std::string_view text :
       {std::string_view("# HELP "), kPrefix, name, std::string_view(" "), help, std::string_view("\n# TYPE "), kPrefix,
        name, std::string_view(" "), type, std::string_view("\n")}) {
    out->append(text);
  }
}

/// The reasons are the server's own words, without quotes.
void ByReason(std::string* out, std::string_view name, std::string_view help,
              const std::map<std::string, uint64_t>& reasons) {
  Begin(out, name, "counter", help);
  for (const auto& [reason, count] : reasons) {
    out->append(kPrefix).append(name).append("{reason=\"").append(reason).append("\"} ");
    out->append(std::to_string(count)).append("\n");
  }
}

}  // namespace

std::string RendezvousMetrics(const RendezvousCounters& counters) {
  std::string out;
  for (const auto& metric : kMetrics) {
    Begin(&out, metric.name, metric.type, metric.help);
    out.append(kPrefix).append(metric.name).append(" ");
    out.append(std::to_string(counters.*metric.value)).append("\n");
  }
  ByReason(&out, "strangers_refused_total", "Connections that proved nothing, and probes without a token.",
           counters.strangers_by_reason);
  ByReason(&out, "tickets_refused_total", "Those of them that showed a ticket.", counters.tickets_by_reason);
  Begin(&out, "uptime_seconds", "gauge", "Since the server was started.");
  out.append(kPrefix).append("uptime_seconds ").append(std::to_string(counters.uptime_s)).append("\n");
  return out;
}

}  // namespace cylon
