/// Signs of life in the store, for peers that hear nothing of each other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"
#include "cylon/comm/finding.h"

namespace cylon::internal {

/// What a rank shows.
struct LifeSign {
  bool answered = false;        ///< by the store
  std::string text;             ///< "" for none; another one than before: it lives
  std::optional<Finding> lost;  ///< the link between it and the rank that looks
};

/// One rank's, and its look at the others'. A sign is a counter, or the finding that the rank's link to a peer is lost:
/// that peer may hear of it nowhere else. In tasks.
class LifeSigns {
 public:
  /// `store` outlives this.
  LifeSigns(Store* store, const World& world)
      : store_(store), prefix_(world.job + "/" + world.epoch + "/alive/"), own_(world.rank) {}

  /// Moves this rank's.
  void Show();
  void ShowLost(const Finding& link);
  void Look(Rank about, std::function<void(const LifeSign&)> then) const;

 private:
  void Set(const std::string& text);

  Store* store_;
  const std::string prefix_;
  const Rank own_;
  int64_t shown_ = 0;
};

}  // namespace cylon::internal
