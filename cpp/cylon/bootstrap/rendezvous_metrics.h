/// A rendezvous server's counters for Prometheus.
#pragma once

#include <string>

#include "cylon/base/export.h"
#include "cylon/bootstrap/rendezvous_counters.h"

namespace cylon {

/// In Prometheus' text format 0.0.4; docs/rendezvous.md lists the names.
CYLON_EXPORT std::string RendezvousMetrics(const RendezvousCounters& counters);

}  // namespace cylon
