/// One way in which ranks reach each other: TCP, or the memory of a host.
#pragma once

#include <arrow/util/future.h>

#include <functional>
#include <memory>
#include <string>

#include "cylon/base/co.h"
#include "cylon/base/export.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Gives connected streams, and knows nothing of ranks. All calls from tasks of the rank's executor.
///
/// A stream that is dialled or accepted carries the mutual handshake, and what two ranks say about their link, as plain
/// bytes; after that Settle may put another stream in its place, for the frames.
class CYLON_EXPORT Path {
 public:
  virtual ~Path();

  virtual std::string name() const = 0;  ///< "tcp", "shm": for messages
  /// What others dial: "tcp://127.0.0.1:4711". Without blanks: a rank's card has those of all its paths, best first,
  /// separated by one blank.
  virtual std::string address() const = 0;

  /// From now on `accept` gets each connection on which a handshake as listener may begin.
  virtual void Accept(std::function<void(std::unique_ptr<Stream>)> accept) = 0;

  /// True where `address`, one of a card's, may be reached this way from here.
  virtual bool Reaches(const std::string& address) const = 0;
  /// DeadlineError at `deadline`; Cancelled when `stop`, where it is given, finishes first. NobodyListens
  /// (wire/stream.h) where the other end is certainly not there: where that is so of every address of a rank, the rank
  /// is gone. Any other error means that the way there is blocked.
  virtual Co<std::unique_ptr<Stream>> Dial(std::string address, TimePoint deadline, arrow::Future<> stop) = 0;

  /// After both ends have proven themselves: the stream that frames travel on. TCP: the same one; shm: memory that the
  /// dialler passes over it. An error, DeadlineError at `deadline` among them, is a connection that broke.
  virtual Co<std::unique_ptr<Stream>> Settle(std::unique_ptr<Stream> proven, bool dialler, TimePoint deadline) = 0;

  /// Accepts nothing more.
  virtual void Close() = 0;
};

}  // namespace cylon
