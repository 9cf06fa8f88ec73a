/// How processes that cannot reach each other yet talk: through a server that all of them can dial.
#pragma once

#include <arrow/result.h>
#include <arrow/util/future.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// What the server has seen of a process: the public addresses of one of its local ports, by who looked. Where a
/// gateway gives every destination a port of its own (a symmetric one), they differ.
struct SeenAddresses {
  std::vector<HostPort> addresses;  ///< without doubles; of one port of the process, as of its last probe
  bool symmetric = false;           ///< two lookers saw different ones
  bool operator==(const SeenAddresses&) const = default;
};

/// What another process has said.
struct CourierLetter {
  std::string from;    ///< its name
  SeenAddresses seen;  ///< of it, by the server itself: not what it says of itself
  std::string text;
};

/// One process at the server. Belongs to tasks. It is trusted with neither the job's secret nor what is said: whoever
/// uses it seals or proves what matters.
class CYLON_EXPORT Courier {
 public:
  static constexpr size_t kMaxLetter = 4 << 10;
  virtual ~Courier();

  /// What others write to: 32 hexadecimal digits, drawn by this process; nobody else can take it while it is there.
  virtual std::string name() const = 0;
  /// Of the port of the last Probe.
  virtual const SeenAddresses& seen() const = 0;

  /// Lets the server see `local_port` of this process from each of its ports, over short connections that are made
  /// from it (SO_REUSEADDR and SO_REUSEPORT, so that others may use it meanwhile). DeadlineError, IOError.
  virtual Co<SeenAddresses> Probe(uint16_t local_port, TimePoint deadline) = 0;

  /// At most kMaxLetter bytes (Invalid beyond). Finishes when the server has passed it on; KeyError where nobody of
  /// that name is there; IOError where the server is away for longer than it may be.
  virtual arrow::Future<> Tell(const std::string& to, const std::string& text) = 0;
  /// Where letters go; those that came before are told at once, at most 64 of them.
  virtual void OnLetter(std::function<void(const CourierLetter&)> on_letter) = 0;

  /// A stream to `to` that the server copies bytes over, for two that cannot do without. Both call it with the same
  /// `token` (16 bytes that one of them has drawn and told the other) within `deadline`; what is sent over it is for
  /// the two to protect. DeadlineError where the other does not come; CapacityError where the server has no room.
  virtual Co<std::unique_ptr<Stream>> Relay(const std::string& to, const std::string& token, TimePoint deadline) = 0;

  /// Ends it all with Cancelled.
  virtual void Close() = 0;
};

}  // namespace cylon
