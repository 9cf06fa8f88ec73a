// The beat of a rank whose world stands.
#include "cylon/bootstrap/presence.h"

#include <algorithm>
#include <utility>

namespace cylon {

namespace {

constexpr Duration kBeat = std::chrono::seconds(1);
constexpr Duration kBeatPerRank = std::chrono::milliseconds(10);
/// What a world leaves that was killed.
constexpr int kBeatsRemembered = 60;

}  // namespace

Presence::Presence(Store* store, Executor& executor, const World& world)
    : store_(store),
      executor_(executor),
      period_(std::max<Duration>(kBeat, world.size() * kBeatPerRank)),
      beat_(internal::PlaceKey(world.job + "/" + world.epoch, world.rank) + "/beat", period_,
            kBeatsRemembered * period_) {}

void Presence::Stop() {
  store_ = nullptr;
  if (const auto timer = std::exchange(timer_, nullptr)) {
    timer->Cancel();
  }
}

void Presence::Next() {
  timer_ = executor_.PostAt(executor_.Now() + period_, [weak = weak_from_this()] {
    if (const auto self = weak.lock(); self && self->store_ != nullptr) {
      self->Move();
    }
  });
}

void Presence::Move() {
  beat_.Move(store_).AddCallback([weak = weak_from_this()](const arrow::Status& moved) {
    if (const auto self = weak.lock(); self && self->store_ != nullptr && moved.ok()) {
      self->Next();
    }
  });
}

}  // namespace cylon
