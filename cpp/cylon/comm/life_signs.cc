// Signs of life in the store.
#include "cylon/comm/life_signs.h"

#include <algorithm>
#include <utility>

namespace cylon::internal {

namespace {

/// A sign of life counts for as long as somebody may look for it.
constexpr auto kLifeTimeToLive = std::chrono::minutes(10);

}  // namespace

void LifeSigns::Show() { Set(std::to_string(++shown_)); }

void LifeSigns::ShowLost(const Finding& link) { Set(Encode(link)); }

void LifeSigns::Set(const std::string& text) {
  // Where the store is gone it is no witness.
  (void)store_->Set(prefix_ + std::to_string(own_), text, kLifeTimeToLive);
}

void LifeSigns::Look(Rank about, std::function<void(const LifeSign&)> then) const {
  store_->TryGet(prefix_ + std::to_string(about))
      .AddCallback([own = own_, about, then = std::move(then)](const arrow::Result<std::string>& text) {
        LifeSign sign;
        sign.answered = text.ok() || text.status().IsKeyError();
        sign.text = text.ValueOr("");
        const auto finding = DecodeFinding(sign.text);
        if (finding.ok() && finding->kind == ErrorKind::kLinkLost && finding->rank == std::min(own, about) &&
            finding->other == std::max(own, about)) {
          sign.lost = *finding;
        }
        then(sign);
      });
}

}  // namespace cylon::internal
