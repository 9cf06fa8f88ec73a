/// What objects are called.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cylon/bootstrap/membership.h"

namespace cylon::internal {

/// All objects lie in one folder, for Arrow's S3 file system puts a marker into the folder of whatever it deletes: a
/// request more, and an object that would stay. Parts are parted by '!', which is in none of them:
///
///   <job>!<epoch>!<from>.<tag>!<to>.<tag>!<number>    an entry (see Outbox)
///   <job>!<epoch>!<rank>.<tag>!alive                  a heartbeat
///
/// A tag is 16 digits of the card's address, drawn by each process: a run that has another's epoch has other names.
class ObjectNames {
 public:
  explicit ObjectNames(const World& world);

  std::string Entry(Rank from, Rank to, uint64_t number) const;
  std::string Beat(Rank rank) const;

  /// The epoch of an object of this job, as it stands in its name; nothing for another's.
  std::optional<std::string_view> EpochOf(std::string_view name) const;
  /// This run's.
  const std::string& epoch() const { return epoch_; }

 private:
  std::string job_;    // with what stands behind it
  std::string epoch_;  // without
  std::string run_;
  std::vector<std::string> ranks_;
};

/// What a rank that uses this transport has as its card's address begins so.
inline constexpr std::string_view kObjectScheme = "object:";

}  // namespace cylon::internal
