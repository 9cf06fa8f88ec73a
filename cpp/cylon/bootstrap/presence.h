/// How a world that stands shows that it lives: so that who is started in a rank's place by mistake is told, and does
/// not wait for others who will not come.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/places.h"
#include "cylon/bootstrap/store.h"

namespace cylon {

/// Moves the beat of one rank's place (see bootstrap/places.h), every second, and in worlds of more than 100 ranks less
/// often, so that a store sees a hundred beats a second at most. It ends with the first that the store does not take: a
/// world needs no store. All calls in tasks.
class Presence : public std::enable_shared_from_this<Presence> {
 public:
  Presence(Store* store, Executor& executor, const World& world);

  void Start() {
    if (store_ != nullptr) {
      Next();
    }
  }
  /// The store may go after that.
  void Stop();

 private:
  void Next();
  void Move();

  Store* store_;  // or none: stopped
  Executor& executor_;
  const Duration period_;
  internal::Beat beat_;
  std::shared_ptr<Timer> timer_;
};

}  // namespace cylon
