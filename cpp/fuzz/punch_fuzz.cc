// What processes that cannot reach each other yet tell each other: letters, the addresses in them, and hellos.
#include <algorithm>

#include "cylon/net/punch/candidates.h"
#include "cylon/net/punch/letters.h"
#include "cylon/net/punch/punch_proof.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

using internal::AddressKind;
using internal::DecodeLetter;
using internal::DecodePunchHello;
using internal::DialableCandidates;
using internal::EncodeLetter;
using internal::EncodePunchHello;
using internal::kMostCandidates;
using internal::Letter;
using internal::LetterKind;

bool IsAmong(const std::vector<HostPort>& all, const HostPort& one) {
  return std::ranges::any_of(all, [&](const auto& each) { return each.host == one.host && each.port == one.port; });
}

/// What a peer tells is dialled only where it may be, whatever a server says that it has seen.
void CheckDialled(const std::vector<HostPort>& told, const std::vector<HostPort>& seen) {
  const std::vector<HostPort> own = {{"10.0.0.2", 4711}, {"203.0.113.7", 4711}};
  const auto dialled = DialableCandidates(told, {seen, false}, own, false);
  Require(dialled.size() <= kMostCandidates, "too many addresses are dialled");
  for (const auto& one : dialled) {
    const auto kind = internal::KindOf(one.host);
    Require(one.port != 0, "port 0 is dialled");
    Require(kind == AddressKind::kPrivate || kind == AddressKind::kPublic, "an address is dialled that none may dial");
    Require(!IsAmong(own, one), "a process dials itself");
    Require(kind == AddressKind::kPrivate || !seen.empty(), "a public address is dialled that no server has seen");
  }
}

void RunPunch(std::string_view bytes) {
  const auto letter = DecodeLetter(bytes);
  if (letter.ok()) {
    Require(EncodeLetter(*letter) == bytes, "a letter that was read is written differently");
    CheckDialled(letter->candidates, {});
    CheckDialled({}, letter->candidates);
    CheckDialled(letter->candidates, letter->candidates);
  } else {
    Require(letter.status().IsInvalid(), "a refusal that is not Invalid");
  }
  const auto hello = DecodePunchHello(bytes);
  if (hello.ok()) {
    Require(EncodePunchHello(*hello) == bytes, "a hello that was read is written differently");
    Require(!CheckPunchHello(*hello, *hello).ok(), "a hello answers itself");
  }
}

std::vector<std::string> PunchSeeds() {
  std::vector<std::string> seeds;
  const std::string attempt(internal::kAttemptBytes, 'a');
  const std::vector<HostPort> places = {{"10.0.0.7", 4711},    {"2001:db8::1", 80}, {"203.0.113.9", 1},
                                        {"10.0.0.2", 4711},    {"127.0.0.1", 80},   {"::ffff:10.0.0.1", 80},
                                        {"169.254.1.1", 4711}, {"10.0.0.8", 0}};
  seeds.push_back(EncodeLetter({LetterKind::kCall, attempt, std::chrono::seconds(4), true, false, false, places}));
  seeds.push_back(EncodeLetter({LetterKind::kAnswer, attempt, {}, false, true, true, {}}));
  seeds.push_back(EncodeLetter({LetterKind::kRelay, attempt, std::chrono::seconds(60)}));
  for (const auto role : {internal::PunchRole::kCaller, internal::PunchRole::kCalled}) {
    seeds.push_back(EncodePunchHello({role, internal::PunchTag(attempt), std::string(16, 'n')}));
  }
  return seeds;
}

const Registration kPunch({"punch", RunPunch, PunchSeeds});

}  // namespace
}  // namespace cylon::fuzz
