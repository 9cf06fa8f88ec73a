// What `cylon doctor --rendezvous` shows.
#include "network_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace cylon::tools {

namespace {

std::string FamilyName(const FamilyReport& family) {
  return family.server.host.find(':') == std::string::npos ? "IPv4" : "IPv6";
}

std::string StrangerWord(Stranger stranger) {
  switch (stranger) {
    case Stranger::kArrives:
      return "arrives";
    case Stranger::kNoAnswer:
      return "no answer";
    case Stranger::kRefused:
      return "refused";
    case Stranger::kNobodyDialled:
      break;
  }
  return "not tried";
}

std::string Joined(const std::vector<std::string>& words, const std::string& last) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == words.size() ? " " + last + " " : ", ") + words[i];
  }
  return text;
}

std::vector<std::string> SeenTexts(const GatewayEvidence& evidence) {
  std::vector<std::string> texts;
  for (const auto& address : evidence.seen.addresses) {
    texts.push_back(address.ToString());
  }
  return texts;
}

std::string Figure(double value, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof(text), "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, unit);
  return text;
}

std::string Rate(double bytes_per_s) { return Figure(bytes_per_s / 1e6, "MB/s"); }

std::string Readable(const RoundTrips& times) {
  return Figure(times.median_ms, "ms") + " (median of " + std::to_string(times.count) + "; 99th percentile " +
         Figure(times.p99_ms, "ms") + ")";
}

nlohmann::json ToJson(const RoundTrips& times) {
  return {{"median_ms", times.median_ms}, {"p99_ms", times.p99_ms}, {"count", times.count}};
}

void Line(std::ostream& out, const std::string& name, const std::string& value) {
  constexpr size_t kWidth = 18;  // of the longest kind, indented
  out << name << std::string(name.size() < kWidth ? kWidth - name.size() : 1, ' ') << value << "\n";
}

void DescribeFamily(std::ostream& out, const FamilyReport& family) {
  Line(out, FamilyName(family), family.trouble.empty() ? "server " + family.server.ToString() : family.trouble);
  const auto& evidence = family.evidence;
  if (evidence.seen.addresses.empty()) {
    return;
  }
  Line(out, "  seen as", Joined(SeenTexts(evidence), "and") + ", of local port " + std::to_string(evidence.port));
  const auto kinds = GatewayKinds(evidence);
  std::string kind = Joined(kinds, "or");
  if (kinds.size() > 1 && evidence.stranger == Stranger::kNobodyDialled) {
    kind += "; --peer tells which";
  }
  Line(out, "  gateway", kind);
  if (evidence.stranger != Stranger::kNobodyDialled) {
    Line(out, "  a stranger", StrangerWord(evidence.stranger));
  }
  for (const auto other : WaysHeader()) {
    Line(out, "  to " + std::string(other), Joined(WaysBetween(kinds, other), "or"));
  }
}

void DescribePeer(std::ostream& out, const PeerReport& peer) {
  Line(out, "Peer", "'" + peer.name + "': " + peer.way + ", " + peer.address);
  if (peer.same_gateway) {
    Line(out, "  gateway", "both are behind the same one (SHARED)");
  }
  if (peer.same_private_address) {
    Line(out, "  gateway", "the same private address at both, behind different ones (SAME_PRIVATE)");
  }
  Line(out, "  set up in", Figure(peer.setup_ms, "ms"));
  Line(out, "  round trip", Readable(peer.round_trip));
  Line(out, "  bandwidth", Rate(peer.sent_bytes_per_s) + " from here, " + Rate(peer.received_bytes_per_s) + " to here");
}

}  // namespace

RoundTrips Summarize(std::vector<double> times_ms) {
  std::ranges::sort(times_ms);
  const auto count = times_ms.size();
  const auto last = static_cast<size_t>(std::ceil(0.99 * static_cast<double>(count))) - 1;
  return {times_ms[count / 2], times_ms[last], static_cast<int>(count)};
}

std::string ReadableReport(const NetworkReport& report) {
  std::ostringstream out;
  Line(out, "Own addresses", Joined(report.own, "and"));
  for (const auto& family : report.families) {
    DescribeFamily(out, family);
  }
  if (report.round_trip) {
    Line(out, "Round trip", Readable(*report.round_trip) + " to the server");
  }
  if (report.relay_bytes_per_s) {
    Line(out, "Relay", Rate(*report.relay_bytes_per_s) + " from here to here");
  }
  if (report.peer) {
    DescribePeer(out, *report.peer);
  }
  for (const auto& problem : report.problems) {
    out << "Problem: " << problem << "\n";
  }
  out << (report.problems.empty() ? "No problems found\n" : "");
  return out.str();
}

nlohmann::json JsonReport(const NetworkReport& report) {
  nlohmann::json json = {{"own", report.own}, {"families", nlohmann::json::array()}, {"problems", report.problems}};
  for (const auto& family : report.families) {
    const auto kinds = GatewayKinds(family.evidence);
    nlohmann::json each = {{"family", FamilyName(family)},
                           {"server", family.server.ToString()},
                           {"port", family.evidence.port},
                           {"seen", SeenTexts(family.evidence)},
                           {"symmetric", family.evidence.seen.symmetric},
                           {"stranger", StrangerWord(family.evidence.stranger)},
                           {"kinds", kinds},
                           {"ways", nlohmann::json::object()}};
    for (const auto other : WaysHeader()) {
      each["ways"][std::string(other)] = WaysBetween(kinds, other);
    }
    if (!family.trouble.empty()) {
      each["trouble"] = family.trouble;
    }
    json["families"].push_back(std::move(each));
  }
  if (report.round_trip) {
    json["round_trip"] = ToJson(*report.round_trip);
  }
  if (report.relay_bytes_per_s) {
    json["relay_bytes_per_s"] = *report.relay_bytes_per_s;
  }
  if (const auto& peer = report.peer) {
    json["peer"] = {{"name", peer->name},
                    {"rank", peer->rank},
                    {"way", peer->way},
                    {"address", peer->address},
                    {"setup_ms", peer->setup_ms},
                    {"same_gateway", peer->same_gateway},
                    {"same_private_address", peer->same_private_address},
                    {"round_trip", ToJson(peer->round_trip)},
                    {"sent_bytes_per_s", peer->sent_bytes_per_s},
                    {"received_bytes_per_s", peer->received_bytes_per_s}};
  }
  return json;
}

}  // namespace cylon::tools
