// One transport, or a choice of several.
#include "cylon/comm/choice_network.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "cylon/net/choice/choice_transport.h"
#include "cylon/net/choice/counted_transport.h"
#include "cylon/net/object/object_place.h"
#include "cylon/net/redis/redis_transport.h"

namespace cylon::internal {

namespace {

constexpr std::array<std::string_view, 4> kDirect = {"auto", "tcp", "shm", "punch"};
constexpr std::array<std::string_view, 2> kThrough = {"redis", "object"};
/// What is counted where it is alone too: somebody may be paid for it. Within a rack nobody is, and a collective of
/// some microseconds would pay for the counting.
constexpr std::array<std::string_view, 3> kCounted = {"punch", "redis", "object"};
constexpr double kGiB = 1 << 30;

template <size_t n>
bool IsOneOf(const std::array<std::string_view, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

Network OneNetwork(AsioExecutor& executor, Options options, const std::string& transport, const std::string& secret) {
  options.transport = transport;
  if (transport == "redis") {
    return RedisNetwork(executor, options, secret);
  }
  if (transport == "object") {
    return ObjectNetwork(executor, options, secret);
  }
  return transport == "punch" ? PunchNetwork(executor, std::move(options), secret)
                              : MeshNetwork(executor, std::move(options), secret);
}

/// One transport alone, whose messages are counted.
class OneSeat final : public Seat {
 public:
  OneSeat(std::string name, std::unique_ptr<Seat> seat, Prices prices)
      : name_(std::move(name)), seat_(std::move(seat)), prices_(std::move(prices)) {}

  std::string address() const override { return seat_->address(); }
  std::string watch_address() const override { return seat_->watch_address(); }
  arrow::Result<std::unique_ptr<Transport>> Join(const World& world) override {
    ARROW_ASSIGN_OR_RAISE(auto transport, seat_->Join(world));
    sent_ = std::make_shared<SentCount>(name_, world.size(), prices_);
    return CountSent(std::move(transport), sent_);
  }
  std::unique_ptr<Watch> MakeWatch(const World& world) override { return seat_->MakeWatch(world); }
  std::vector<ChannelUse> Uses() const override { return sent_ ? sent_->Uses() : std::vector<ChannelUse>(); }

 private:
  std::string name_;
  std::unique_ptr<Seat> seat_;
  Prices prices_;
  std::shared_ptr<SentCount> sent_;
};

/// A card's address for a choice: a line for each transport, "redis=<its address>".
class ChoiceSeat final : public Seat {
 public:
  struct Place {
    std::string name;
    std::unique_ptr<Seat> seat;
    ChannelPrice price;
    std::optional<ChannelPrice> relay_price;  ///< where it has one
  };
  ChoiceSeat(Executor& executor, std::vector<Place> places, const ChoiceSettings& settings)
      : executor_(executor), places_(std::move(places)), settings_(settings) {}

  std::string address() const override {
    std::string lines;
    for (const auto& place : places_) {
      lines += (lines.empty() ? "" : "\n") + place.name + "=" + place.seat->address();
    }
    return lines;
  }
  std::string watch_address() const override {
    const auto watched = Watched();
    return watched == places_.end() ? "" : watched->seat->watch_address();
  }

  arrow::Result<std::unique_ptr<Transport>> Join(const World& world) override {
    std::vector<Channel> channels;
    for (size_t i = 0; i < places_.size(); ++i) {
      ARROW_ASSIGN_OR_RAISE(const World part, PartOf(world, i));
      ARROW_ASSIGN_OR_RAISE(auto transport, places_[i].seat->Join(part));
      channels.push_back({places_[i].name, std::move(transport), places_[i].price, places_[i].relay_price});
    }
    auto choice = ChoiceTransport::Make(executor_, world.rank, world.size(), std::move(channels), settings_);
    uses_ = choice->Teller();
    return choice;
  }
  std::unique_ptr<Watch> MakeWatch(const World& world) override {
    const auto watched = Watched();
    return watched == places_.end() ? nullptr : watched->seat->MakeWatch(world);
  }
  std::vector<ChannelUse> Uses() const override { return uses_ ? uses_() : std::vector<ChannelUse>(); }

 private:
  std::vector<Place>::const_iterator Watched() const {
    return std::find_if(places_.begin(), places_.end(),
                        [](const Place& place) { return !place.seat->watch_address().empty(); });
  }

  /// `world` as one of the transports sees it.
  arrow::Result<World> PartOf(World world, size_t place) const {
    const auto own = Split(address(), '\n');
    for (Rank rank = 0; rank < world.size(); ++rank) {
      auto& card = world.cards[static_cast<size_t>(rank)];
      const auto lines = Split(card.address, '\n');
      const std::string prefix = places_[place].name + "=";
      if (lines.size() != own.size() || !lines[place].starts_with(prefix)) {
        return arrow::Status::Invalid("rank ", rank, " on ", card.host, " was started with other transports than rank ",
                                      world.rank,
                                      "; set CYLON_TRANSPORT to the same, in the same order, at every rank");
      }
      card.address = lines[place].substr(prefix.size());
    }
    return world;
  }

  Executor& executor_;
  std::vector<Place> places_;
  ChoiceSettings settings_;
  std::function<std::vector<ChannelUse>()> uses_;
};

}  // namespace

double RankPerSecond(const Options& options, const Prices& prices) {
  const double bytes = options.memory_bytes > 0
                           ? static_cast<double>(options.memory_bytes)
                           : static_cast<double>(DetectHostLimits().memory_bytes) / std::max(options.local_size, 1);
  return bytes / kGiB * prices.rank_per_gib_second;
}

arrow::Result<std::vector<std::string>> TransportsOf(const Options& options) {
  auto names = Split(options.transport.empty() ? "auto" : options.transport, ',');
  int direct = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool connects = IsOneOf(kDirect, names[i]);
    direct += connects ? 1 : 0;
    if (!connects && !IsOneOf(kThrough, names[i])) {
      return arrow::Status::Invalid("transport is '", options.transport,
                                    "'; ranks that are processes are connected by 'auto', 'tcp', 'shm', 'punch', "
                                    "'redis' or 'object', or by the best of some of them, as in 'punch,redis'; unset "
                                    "CYLON_TRANSPORT for auto");
    }
    if (std::count(names.begin(), names.end(), names[i]) > 1 || direct > 1) {
      return arrow::Status::Invalid("transport is '", options.transport,
                                    "', which names one twice, or two that connect ranks with each other; set "
                                    "CYLON_TRANSPORT to at most one of auto, tcp, shm and punch, and others beside it");
    }
  }
  return names;
}

arrow::Status CheckTransports(const Options& options) {
  ARROW_ASSIGN_OR_RAISE(const auto names, TransportsOf(options));
  for (const auto& name : names) {
    if (name == "redis") {
      ARROW_RETURN_NOT_OK(RedisServerOf(options).status());
    } else if (name == "object") {
      ARROW_RETURN_NOT_OK(OpenObjectPlace(options.object_store).status());
    } else if (name == "punch") {
      ARROW_RETURN_NOT_OK(RendezvousOf(options).status());
    }
  }
  ARROW_RETURN_NOT_OK(Policy::Parse(options.policy).status());
  return ReadPrices(options.prices).status();
}

Network NetworkOf(AsioExecutor& executor, const Options& options, const std::string& secret) {
  return [&executor, options, secret](int ranks) -> arrow::Result<std::unique_ptr<Seat>> {
    ARROW_ASSIGN_OR_RAISE(const auto names, TransportsOf(options));
    if (names.size() == 1 && !IsOneOf(kCounted, names[0])) {
      return OneNetwork(executor, options, names[0], secret)(ranks);
    }
    ARROW_ASSIGN_OR_RAISE(const auto prices, ReadPrices(options.prices));
    if (names.size() == 1) {
      ARROW_ASSIGN_OR_RAISE(auto seat, OneNetwork(executor, options, names[0], secret)(ranks));
      return std::make_unique<OneSeat>(names[0], std::move(seat), prices);
    }
    ChoiceSettings settings;
    ARROW_ASSIGN_OR_RAISE(settings.policy, Policy::Parse(options.policy));
    settings.rank_per_second = RankPerSecond(options, prices);
    settings.patience = FromSeconds(options.connect_deadline_s);
    std::vector<ChoiceSeat::Place> places;
    for (const auto& name : names) {
      ARROW_ASSIGN_OR_RAISE(auto seat, OneNetwork(executor, options, name, secret)(ranks));
      const auto relay = name == "punch" ? std::optional(prices.Of("relay")) : std::nullopt;
      places.push_back({name, std::move(seat), prices.Of(name), relay});
    }
    return std::make_unique<ChoiceSeat>(executor, std::move(places), settings);
  };
}

}  // namespace cylon::internal
