/// What a rendezvous server has done so far.
#pragma once

#include <cstdint>

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
  uint64_t strangers_refused = 0;  ///< connections that proved nothing, and probes without a token
};

}  // namespace cylon
