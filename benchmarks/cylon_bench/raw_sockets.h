/// The ceiling: an all-to-all over plain TCP sockets, with nothing on top.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>
#include <vector>

#include "cylon/cylon.h"

namespace cylon::bench {

/// Where a rank listens, and where the others reach it.
struct RawPlace {
  std::string host = "127.0.0.1";  ///< an IPv4 address: of this machine, or of what forwards the port to it
  int port = 0;                    ///< on all addresses of this machine; 0: a free one of 127.0.0.1
};

/// A connection to every other rank, and buffers that were touched before.
class RawSockets {
 public:
  /// Connects all ranks to each other; at most `bytes` go from each rank to each other one. Collective.
  static arrow::Result<std::unique_ptr<RawSockets>> Connect(Context& context, int64_t bytes, const RawPlace& own = {});
  RawSockets() = default;  // Connect makes one of use
  ~RawSockets();
  RawSockets(const RawSockets&) = delete;
  RawSockets& operator=(const RawSockets&) = delete;

  /// Sends `bytes` to all and receives as many from all at once, in one thread. Returns when this rank has done both.
  arrow::Status AllToAll(int64_t bytes);
  /// One way: returns when the kernel has taken all, or when all has come.
  arrow::Status Send(int peer, const void* data, int64_t bytes);
  arrow::Status Receive(int peer, void* data, int64_t bytes);
  /// What AllToAll received from `peer`, and what it sends.
  std::vector<uint8_t>& incoming(int peer) { return incoming_[peer]; }
  std::vector<uint8_t>& outgoing() { return outgoing_; }

 private:
  arrow::Status ConnectAll(Context& context, RawPlace place);
  arrow::Status Listen(int* port);

  int listener_ = -1;
  std::vector<int> sockets_;                    // by rank; -1: this one
  std::vector<uint8_t> outgoing_;               // the same bytes to everyone: sending only reads them
  std::vector<std::vector<uint8_t>> incoming_;  // by rank
};

}  // namespace cylon::bench
