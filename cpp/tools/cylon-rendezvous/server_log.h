/// What the server's operator reads: a line for each event.
#pragma once

#include <cstdio>
#include <string>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/rendezvous_server.h"
#include "cylon/bootstrap/token_bucket.h"

namespace cylon::tools {

/// Writes lines to `out`: as JSON objects, or as text for people. Strangers cause events, so there are at most 20 lines
/// a second, after 200 at once; how many were left out stands in the next that is written.
class ServerLog {
 public:
  ServerLog(std::FILE* out, bool json, bool warnings_alone) : out_(out), json_(json), warnings_alone_(warnings_alone) {}
  /// `now` is of a clock that never goes back, `unix_seconds` what the line is dated by.
  void Write(const ServerEvent& event, TimePoint now, double unix_seconds);

 private:
  std::FILE* out_;
  const bool json_;
  const bool warnings_alone_;
  TokenBucket lines_{200};
  uint64_t left_out_ = 0;
};

/// One event as a line, without its end. `left_out`: events before it that were not written.
std::string LogLine(const ServerEvent& event, bool json, double unix_seconds, uint64_t left_out);

}  // namespace cylon::tools
