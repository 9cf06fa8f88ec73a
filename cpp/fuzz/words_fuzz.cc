// What ranks and launchers tell each other as JSON: statuses, findings, the launcher's word.
#include <algorithm>

#include "cylon/base/error.h"
#include "cylon/comm/finding.h"
#include "cylon/comm/launcher_word.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

using internal::DecodeFinding;
using internal::Finding;

void RunWords(std::string_view bytes) {
  arrow::Status status;
  const auto read = DecodeStatus(bytes, &status);
  Require(read.ok() || IsError(read, ErrorKind::kProtocol), "a refusal that is no ProtocolError");
  if (read.ok()) {
    arrow::Status again;
    Require(DecodeStatus(EncodeStatus(status), &again).ok() && again.code() == status.code(),
            "a status that was read cannot be written and read");
    Require((again.detail() == nullptr) == (status.detail() == nullptr), "a status lost its detail on the way");
  }
  const auto finding = DecodeFinding(bytes);
  if (finding.ok()) {
    const auto again = DecodeFinding(Encode(*finding));
    Require(again.ok() && *again == *finding, "a finding that was read cannot be written and read");
    for (const Rank own : {0, finding->rank}) {
      Require(!ToStatus(*finding, own, "host", "Join", 3, true).ok(), "a finding is no error");
    }
  }
  const auto word = DecodeLauncherWord(bytes);
  if (word.ok()) {
    const auto again = DecodeLauncherWord(EncodeLauncherWord(*word));
    Require(again.ok() && again->rank == word->rank && again->cause == word->cause,
            "a launcher's word that was read cannot be written and read");
  }
}

std::vector<std::string> WordSeeds() {
  std::vector<std::string> seeds;
  for (const auto& status :
       {RankFailedError(2, "node7", "killed by signal 9 (SIGKILL)", "Join", 7, false), LinkLostError(1, 3, "no answer"),
        ProtocolError("what is this", 5), arrow::Status::OutOfMemory("\xff\xfe no UTF-8"), arrow::Status::OK()}) {
    seeds.push_back(EncodeStatus(status));
    seeds.push_back(Encode(Finding{Finding::Source::kItself, ErrorKind::kRemote, 1, EncodeStatus(status)}));
  }
  seeds.push_back(Encode(Finding{Finding::Source::kLink, ErrorKind::kRankFailed, 4, "connection closed"}));
  seeds.push_back(EncodeLauncherWord({2, "exited with code 1"}));
  seeds.emplace_back(
      R"({"code": 4294967296, "rank": 4294967297, "message": "", "cause": "", "detail": {"kind": 257}})");
  seeds.emplace_back(10000, '[');
  return seeds;
}

const Registration kWords({"words", RunWords, WordSeeds});

}  // namespace
}  // namespace cylon::fuzz
