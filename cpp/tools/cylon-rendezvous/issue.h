/// `cylon-rendezvous ticket`: issues a ticket for one job.
#pragma once

#include <arrow/status.h>

#include <cstdint>
#include <string>

namespace cylon::tools {

struct IssueArguments {
  std::string operator_key_file;
  std::string job;
  uint32_t ranks = 0;
  double hours = 0;
  uint64_t relay_bytes = uint64_t{1} << 40;
  uint64_t relay_rate = uint64_t{64} << 20;
  std::string out;  ///< a file that is made; "": standard output
};

/// Writes the ticket. A file is made with mode 0600, and never written over.
arrow::Status Issue(const IssueArguments& arguments);

inline constexpr char kOperatorKeyHint[] =
    "give --operator-key-file a file with mode 0600 that holds 64 hexadecimal digits; make one with: (umask 077; "
    "openssl "
    "rand -hex 32 > operator.key)";

}  // namespace cylon::tools
