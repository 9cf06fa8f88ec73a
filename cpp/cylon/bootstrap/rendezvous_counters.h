/// What a rendezvous server has done so far, and what it holds.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace cylon {

struct RendezvousCounters {
  uint64_t sessions = 0;           ///< that are there
  uint64_t sessions_begun = 0;     ///< since the start, with those of processes that came again
  uint64_t sessions_refused = 0;   ///< their name was another's, or there were too many
  uint64_t sessions_ended = 0;     ///< by the server: they did not read, or were silent
  uint64_t letters = 0;            ///< passed on
  uint64_t letters_refused = 0;    ///< to nobody, too long, or there was no room
  uint64_t probes = 0;             ///< answered
  uint64_t relays = 0;             ///< pairs that are joined
  uint64_t relays_waiting = 0;     ///< ends whose other has not come yet
  uint64_t relays_joined = 0;      ///< since the start
  uint64_t relays_refused = 0;     ///< the other did not come, or there was no room
  uint64_t relayed_bytes = 0;      ///< in both directions
  uint64_t worlds = 0;             ///< whose table was put into a store
  uint64_t strangers_refused = 0;  ///< connections that proved nothing, and probes without a token
  std::map<std::string, uint64_t> strangers_by_reason = {};  ///< the same
  std::map<std::string, uint64_t> tickets_by_reason = {};    ///< those of them that showed a ticket

  // Filled in when they are asked for.
  uint64_t jobs = 0;           ///< that have sessions
  uint64_t strangers = 0;      ///< that have not proven themselves yet
  uint64_t store_clients = 0;  ///< connections
  uint64_t store_bytes = 0;    ///< keys and values
  uint64_t queued_bytes = 0;   ///< what sessions have been sent and have not read
  double uptime_s = 0;
};

}  // namespace cylon
