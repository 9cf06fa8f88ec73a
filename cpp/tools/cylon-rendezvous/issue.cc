// Issues tickets.
#include "issue.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <iostream>

#include "cylon/base/random.h"
#include "cylon/base/secret.h"
#include "cylon/bootstrap/ticket.h"

namespace cylon::tools {

namespace {

/// Ten years: whoever wants more wants another way to let in.
constexpr double kMostHours = 10 * 366 * 24;

arrow::Status WriteFile(const std::string& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    return arrow::Status::IOError("cannot make the file ", path, " for the ticket: ", std::strerror(errno),
                                  "; name a file that is not there yet, in a folder that is");
  }
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (::close(file) != 0 || !written) {
    ::unlink(path.c_str());
    return arrow::Status::IOError("cannot write the ticket to ", path, ": ", std::strerror(written ? errno : error));
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Status Issue(const IssueArguments& arguments) {
  if (!(arguments.hours > 0 && arguments.hours <= kMostHours)) {
    return arrow::Status::Invalid("--hours is ", arguments.hours, "; a ticket is good for more than 0 and at most ",
                                  kMostHours, " hours");
  }
  ARROW_ASSIGN_OR_RAISE(const std::string key,
                        ReadKeyFile(arguments.operator_key_file, "operator's key", kOperatorKeyHint));
  TicketClaims claims;
  ARROW_ASSIGN_OR_RAISE(claims.id, RandomBytes(kTicketIdBytes));
  claims.job = arguments.job;
  claims.expires = static_cast<int64_t>(std::time(nullptr)) + static_cast<int64_t>(std::ceil(arguments.hours * 3600));
  claims.ranks = arguments.ranks;
  claims.relay_bytes = arguments.relay_bytes;
  claims.relay_rate = arguments.relay_rate;
  ARROW_ASSIGN_OR_RAISE(const std::string ticket, IssueTicket(key, claims));
  if (!arguments.out.empty()) {
    return WriteFile(arguments.out, ticket + "\n");
  }
  std::cout << ticket << "\n" << std::flush;
  return std::cout.good() ? arrow::Status::OK() : arrow::Status::IOError("cannot write the ticket to standard output");
}

}  // namespace cylon::tools
