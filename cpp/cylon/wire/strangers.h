/// Connections whose other side has not proven itself yet: a bounded number at once.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>

namespace cylon {

/// What a stranger may cost: a descriptor and some KiB for at most so many at once (where ranks connect: twice the
/// world size if that is more, as every rank may dial at the same moment).
inline constexpr size_t kStrangersAtOnce = 64;
/// And for so long.
inline constexpr auto kStrangerPatience = std::chrono::seconds(5);

/// Connections in their handshake, which belong to somebody else: streams, or openings of them. Call from tasks.
template <typename Connection>
class Strangers {
 public:
  explicit Strangers(size_t most) : most_(most) {}

  /// Where there are as many as there may be, the oldest gives way and is closed: it has had its chance.
  void Add(Connection* stream) {
    while (!streams_.empty() && streams_.size() >= most_) {
      Connection* oldest = streams_.front();
      streams_.pop_front();  // before it closes, as that may end in Remove
      oldest->Close();
    }
    streams_.push_back(stream);
  }
  /// `stream` has proven itself, or is about to go. One that is not there is fine.
  void Remove(Connection* stream) { streams_.remove(stream); }
  size_t size() const { return streams_.size(); }

 private:
  size_t most_;
  std::list<Connection*> streams_;  // oldest first
};

}  // namespace cylon
