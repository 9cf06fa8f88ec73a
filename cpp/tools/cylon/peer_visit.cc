// Two processes that look at the way between them.
#include "peer_visit.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store_barrier.h"
#include "cylon/net/punch/candidates.h"
#include "cylon/net/punch/punch_paths.h"
#include "finish.h"
#include "measure.h"

namespace cylon::tools {

namespace {

using Json = nlohmann::json;
using internal::AddressKind;

/// A stranger's SYN is sent again after a second: that much is waited for it, and a little more.
constexpr Duration kKnockPatience = std::chrono::milliseconds(1500);
constexpr Duration kStepPatience = std::chrono::seconds(20);
constexpr Duration kMeasurePatience = std::chrono::seconds(15);
constexpr Duration kKeyLasts = std::chrono::minutes(10);
constexpr const char* kPurpose = "doctor/1";

/// What each tells the other, over the store.
struct Card {
  std::string courier;
  KnockWords words;
  std::vector<std::string> own;
  std::vector<HostPort> seen;
};

std::string Write(const Card& card) {
  Json json = {{"courier", card.courier},
               {"knock", HexEncode(card.words.knock)},
               {"answer", HexEncode(card.words.answer)},
               {"own", card.own},
               {"seen", Json::array()}};
  for (const auto& address : card.seen) {
    json["seen"].push_back(address.ToString());
  }
  return json.dump();
}

arrow::Result<Card> Read(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto wrong = ProtocolError(
      "the other process tells of itself what this version does not understand; run the "
      "same version at both");
  const auto has = [&](const char* name, Json::value_t type) {
    return json.contains(name) && json[name].type() == type;
  };
  if (!json.is_object() || !has("courier", Json::value_t::string) || !has("knock", Json::value_t::string) ||
      !has("answer", Json::value_t::string) || !has("own", Json::value_t::array) ||
      !has("seen", Json::value_t::array)) {
    return wrong;
  }
  Card card;
  card.courier = json["courier"].get<std::string>();
  ARROW_ASSIGN_OR_RAISE(card.words.knock, HexDecode(json["knock"].get<std::string>()));
  ARROW_ASSIGN_OR_RAISE(card.words.answer, HexDecode(json["answer"].get<std::string>()));
  for (const auto& host : json["own"]) {
    if (!host.is_string()) {
      return wrong;
    }
    card.own.push_back(host.get<std::string>());
  }
  for (const auto& address : json["seen"]) {
    if (!address.is_string()) {
      return wrong;
    }
    ARROW_ASSIGN_OR_RAISE(auto parsed, HostPort::Parse(address.get<std::string>()));
    card.seen.push_back(std::move(parsed));
  }
  return card;
}

bool IsIpv6(const HostPort& address) { return address.host.find(':') != std::string::npos; }

/// What both need of each other, gone with the last of them.
class Visit {
 public:
  Visit(AsioExecutor& executor, const PeerVisit& visit, const Couriers& couriers)
      : executor_(executor),
        visit_(visit),
        couriers_(couriers),
        connect_(std::min<Duration>(kStepPatience / 2, FromSeconds(visit.options.connect_deadline_s))) {}
  ~Visit() {
    static_cast<void>(executor_.RunTask([this] {
      stream_.reset();
      accepted_.reset();
      paths_.clear();
      store_.reset();
      return arrow::Status::OK();
    }));
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  arrow::Status Meet();
  arrow::Status Introduce(const KnockPort& port, NetworkReport* report);
  arrow::Status Knock(NetworkReport* report);
  arrow::Status Connect(PeerReport* report);
  arrow::Status Measure(PeerReport* report);

 private:
  arrow::Status Barrier(const std::string& name) {
    return Finish(executor_, StoreBarrier(store_.get(), world_, name, executor_.Now() + kStepPatience),
                  2 * kStepPatience);
  }
  /// What the other says to the same question.
  arrow::Result<std::string> Exchange(const std::string& question, const std::string& own);
  void Compare(const Card& own, PeerReport* report) const;
  arrow::Result<Stranger> KnockAtOther(bool ipv6);
  arrow::Status Dial(PeerReport* report);
  arrow::Status Accept(PeerReport* report);
  Identity Self() const {
    Identity self;
    self.job = world_.job;
    self.epoch = world_.epoch;
    self.rank = world_.rank;
    self.purpose = kPurpose;
    return self;
  }

  AsioExecutor& executor_;
  const PeerVisit& visit_;
  const Couriers& couriers_;
  const Duration connect_;  // what a job gives a first connection
  std::unique_ptr<Store> store_;
  World world_;
  Card other_;
  bool stranger_arrived_ = false;  // at either end
  std::vector<std::unique_ptr<Path>> paths_;
  std::unique_ptr<Stream> accepted_;
  size_t accepted_on_ = 0;
  std::shared_ptr<Stream> stream_;
};

arrow::Status Visit::Meet() {
  Options options = visit_.options;
  options.store = couriers_.front().first.ToString();
  const TimePoint deadline = executor_.Now() + visit_.patience;
  ARROW_ASSIGN_OR_RAISE(store_, OpenStore(options, executor_, deadline));
  JoinRequest request;
  request.job = "doctor-" + visit_.name;
  request.world_size = 2;
  request.card = AddressCard{"doctor", ::getpid(), ""};
  request.deadline = deadline;
  auto joined = Finish(executor_, Join(store_.get(), executor_, std::move(request)), visit_.patience + kStepPatience);
  if (!joined.ok()) {
    return joined.status().WithMessage("nobody else came by the name '", visit_.name, "' in time (",
                                       joined.status().message(), "); start cylon doctor --peer ", visit_.name,
                                       " at both ends at once");
  }
  world_ = *std::move(joined);
  return arrow::Status::OK();
}

arrow::Result<std::string> Visit::Exchange(const std::string& question, const std::string& own) {
  const std::string key = world_.job + "/" + world_.epoch + "/" + question + "/";
  ARROW_RETURN_NOT_OK(
      executor_.Await(store_->Set(key + std::to_string(world_.rank), own, kKeyLasts), executor_.Now() + kStepPatience));
  const TimePoint deadline = executor_.Now() + kStepPatience;
  return executor_.Await(store_->Get(key + std::to_string(1 - world_.rank), deadline), deadline + kStepPatience);
}

/// The server looks again, as a gateway may have forgotten what it saw while the other was waited for.
arrow::Status Visit::Introduce(const KnockPort& port, NetworkReport* report) {
  Card own{couriers_.front().second->name(), port.words(), report->own, {}};
  for (const auto& [server, courier] : couriers_) {
    ARROW_ASSIGN_OR_RAISE(const auto seen,
                          Finish(executor_, courier->Probe(port.number(), executor_.Now() + connect_), kStepPatience));
    for (auto& family : report->families) {
      if (family.server == server) {
        family.evidence.seen = seen;
      }
    }
    own.seen.insert(own.seen.end(), seen.addresses.begin(), seen.addresses.end());
  }
  ARROW_ASSIGN_OR_RAISE(const std::string text, Exchange("card", Write(own)));
  ARROW_ASSIGN_OR_RAISE(other_, Read(text));
  report->peer->rank = world_.rank;
  Compare(own, &*report->peer);
  return arrow::Status::OK();
}

void Visit::Compare(const Card& own, PeerReport* report) const {
  const auto shares = [&](const auto& one, const auto& other, const auto& usable) {
    return std::ranges::any_of(
        one, [&](const auto& each) { return usable(each) && std::ranges::find(other, each) != other.end(); });
  };
  std::vector<std::string> seen;
  std::vector<std::string> other_seen;
  for (const auto& address : own.seen) {
    seen.push_back(address.host);
  }
  for (const auto& address : other_.seen) {
    other_seen.push_back(address.host);
  }
  report->same_gateway = shares(
      seen, other_seen, [&](const std::string& host) { return std::ranges::find(own.own, host) == own.own.end(); });
  report->same_private_address = !report->same_gateway && shares(own.own, other_.own, [](const std::string& host) {
    return internal::KindOf(host) == AddressKind::kPrivate;
  });
}

arrow::Result<Stranger> Visit::KnockAtOther(bool ipv6) {
  for (const auto& address : other_.seen) {
    // Only where nothing else of this host, or of its network, can be meant.
    if (IsIpv6(address) == ipv6 && internal::KindOf(address.host) == AddressKind::kPublic) {
      return Finish(executor_, KnockAt(&executor_, address, other_.words, executor_.Now() + kKnockPatience),
                    kStepPatience);
    }
  }
  return Stranger::kNobodyDialled;
}

/// One after the other, so that nobody has sent anything yet to whom it is dialled by.
arrow::Status Visit::Knock(NetworkReport* report) {
  for (const Rank dialler : {0, 1}) {
    for (const bool ipv6 : {false, true}) {
      Stranger own = Stranger::kNobodyDialled;
      if (dialler == world_.rank && !report->peer->same_gateway) {
        ARROW_ASSIGN_OR_RAISE(own, KnockAtOther(ipv6));
      }
      ARROW_ASSIGN_OR_RAISE(const std::string text,
                            Exchange("stranger-" + std::to_string(dialler) + (ipv6 ? "-6" : "-4"),
                                     std::to_string(static_cast<int>(own))));
      const int number = text.size() == 1 ? text[0] - '0' : -1;
      if (number < 0 || number > static_cast<int>(Stranger::kRefused)) {
        return ProtocolError("the other process tells of its dial what this version does not understand");
      }
      const auto theirs = static_cast<Stranger>(number);
      for (auto& family : report->families) {
        if (IsIpv6(family.server) == ipv6 && dialler != world_.rank) {
          family.evidence.stranger = theirs;
        }
      }
      stranger_arrived_ |= own == Stranger::kArrives || theirs == Stranger::kArrives;
    }
  }
  return arrow::Status::OK();
}

arrow::Status Visit::Dial(PeerReport* report) {
  const TimePoint begun = executor_.Now();
  const TimePoint deadline = begun + connect_;
  arrow::Status trouble;
  for (const auto& path : paths_) {
    auto dialled = Finish(executor_, path->Dial(path->name() + "://" + other_.courier, deadline, {}), kStepPatience);
    if (dialled.ok()) {
      report->way = path->name();
      report->address = (*dialled)->peer_name();
      Identity self = Self();
      self.wanted = 1 - world_.rank;
      ARROW_ASSIGN_OR_RAISE(auto opened, Finish(executor_,
                                                OpenAsDialler(*std::move(dialled), executor_, visit_.security,
                                                              std::move(self), "", executor_.Now() + connect_),
                                                kStepPatience));
      stream_ = std::move(opened.stream);
      report->setup_ms = std::chrono::duration<double, std::milli>(executor_.Now() - begun).count();
      return arrow::Status::OK();
    }
    trouble = dialled.status();
  }
  return trouble;
}

arrow::Status Visit::Accept(PeerReport* report) {
  const TimePoint begun = executor_.Now();
  auto came = arrow::Future<>::Make();
  ARROW_RETURN_NOT_OK(executor_.RunTask([this, came] {
    for (size_t i = 0; i < paths_.size(); ++i) {
      paths_[i]->Accept([this, came, i](std::unique_ptr<Stream> stream) mutable {
        if (!came.is_finished()) {
          accepted_ = std::move(stream);
          accepted_on_ = i;
          came.MarkFinished();
        }
      });
    }
    return arrow::Status::OK();
  }));
  ARROW_RETURN_NOT_OK(Barrier("accepting"));
  ARROW_RETURN_NOT_OK(executor_.Await(came, executor_.Now() + kStepPatience));
  report->way = paths_[accepted_on_]->name();
  report->address = accepted_->peer_name();
  ARROW_ASSIGN_OR_RAISE(auto opened, Finish(executor_,
                                            OpenAsListener(std::move(accepted_), executor_, visit_.security, Self(),
                                                           executor_.Now() + connect_),
                                            kStepPatience));
  stream_ = std::move(opened.stream);
  report->setup_ms = std::chrono::duration<double, std::milli>(executor_.Now() - begun).count();
  return arrow::Status::OK();
}

arrow::Status Visit::Connect(PeerReport* report) {
  ARROW_RETURN_NOT_OK(executor_.RunTask([this]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(paths_,
                          MakePunchPaths(executor_, couriers_.front().second, visit_.security.secret, world_.job));
    return arrow::Status::OK();
  }));
  if (world_.rank == 1) {
    ARROW_RETURN_NOT_OK(Accept(report));
  } else {
    ARROW_RETURN_NOT_OK(Barrier("accepting"));
    ARROW_RETURN_NOT_OK(Dial(report));
  }
  if (report->way == "punch") {
    const auto address = HostPort::Parse(report->address);
    const bool within = address.ok() && internal::KindOf(address->host) == AddressKind::kPrivate;
    report->way = within || stranger_arrived_ ? "direct" : "punched";
  }
  return arrow::Status::OK();
}

arrow::Status Visit::Measure(PeerReport* report) {
  auto timer = executor_.PostAt(executor_.Now() + kMeasurePatience, [stream = stream_] { stream->Close(); });
  const auto figures = Finish(executor_, MeasureStream(&executor_, stream_.get(), world_.rank == 0, visit_.span),
                              kMeasurePatience + kStepPatience);
  timer->Cancel();
  ARROW_RETURN_NOT_OK(figures.status());
  report->round_trip = figures->round_trip;
  report->sent_bytes_per_s = figures->sent_bytes_per_s;
  report->received_bytes_per_s = figures->received_bytes_per_s;
  // Whoever leaves first closes the connection that the other still reads from.
  return Barrier("measured");
}

}  // namespace

arrow::Status VisitPeer(AsioExecutor& executor, const PeerVisit& visit, const Couriers& couriers, const KnockPort& port,
                        NetworkReport* report) {
  Visit pair(executor, visit, couriers);
  ARROW_RETURN_NOT_OK(pair.Meet());
  report->peer.emplace();
  report->peer->name = visit.name;
  auto status = pair.Introduce(port, report);
  if (status.ok()) {
    status = pair.Knock(report);
  }
  if (status.ok()) {
    status = pair.Connect(&*report->peer);
  }
  if (status.ok()) {
    status = pair.Measure(&*report->peer);
  }
  if (!status.ok()) {
    report->peer.reset();
    return status.WithMessage("another process came by the name '", visit.name, "', but: ", status.message());
  }
  return status;
}

}  // namespace cylon::tools
