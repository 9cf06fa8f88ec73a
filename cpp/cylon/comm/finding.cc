// Findings as bytes and as errors.
#include "cylon/comm/finding.h"

#include <nlohmann/json.hpp>

namespace cylon::internal {

namespace {

std::string During(const std::string& operation, uint64_t sequence) {
  return operation + " (operation " + std::to_string(sequence) + ")";
}

/// A rank that ended in order, but too early for this one.
arrow::Status LeftError(const Finding& finding, const std::string& host, const std::string& operation,
                        uint64_t sequence, bool agreed) {
  auto detail = std::make_shared<ErrorDetail>(ErrorKind::kRankFailed);
  detail->rank = finding.rank;
  detail->host = host;
  detail->operation = operation;
  detail->sequence = sequence;
  detail->cause = finding.text;
  detail->agreed = agreed;
  std::string message = "rank " + std::to_string(finding.rank) + (host.empty() ? "" : " on " + host) +
                        " left the job (its program ended)";
  message += operation.empty() ? " while others need it" : " while this rank waits in " + During(operation, sequence);
  message += "; every rank has to make the same calls before it ends; look for a branch or an early return at rank " +
             std::to_string(finding.rank);
  return {arrow::StatusCode::IOError, std::move(message), std::move(detail)};
}

/// The whole job's deadline is nobody's in particular (rank -1): it says where this rank was. A lack of progress is one
/// rank's, whose words say all.
arrow::Status PastDeadline(const Finding& finding, const std::string& operation, uint64_t sequence) {
  if (finding.rank >= 0 || operation.empty()) {
    return DeadlineError(finding.text, finding.rank);
  }
  return DeadlineError(finding.text + "; this rank was in " + During(operation, sequence));
}

/// A rank that lives, and of which the others found that it does not.
arrow::Status GivenUpError(const Finding& finding, const std::string& host, const std::string& operation,
                           uint64_t sequence, bool agreed) {
  const auto named = RankFailedError(finding.rank, host, finding.text, operation, sequence, agreed);
  return named.WithMessage("the other ranks have given this rank up: ", named.message(),
                           "; this process had been stopped, or its machine stood still: look for who stopped it");
}

}  // namespace

std::string Encode(const Finding& finding) {
  const nlohmann::json json{{"source", static_cast<int>(finding.source)},
                            {"kind", static_cast<int>(finding.kind)},
                            {"rank", finding.rank},
                            {"text", finding.text},
                            {"other", finding.other}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

arrow::Result<Finding> DecodeFinding(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  auto number = [&](const char* name, int least, int most) {
    return json.contains(name) && json[name].is_number_integer() && json[name].get<int64_t>() >= least &&
           json[name].get<int64_t>() <= most;
  };
  if (!json.is_object() || !number("source", 0, static_cast<int>(Finding::Source::kDeparture)) ||
      !number("kind", static_cast<int>(ErrorKind::kRankFailed), static_cast<int>(kLastErrorKind)) ||
      !number("rank", -1, INT32_MAX) || !number("other", -1, INT32_MAX) || !json.contains("text") ||
      !json["text"].is_string()) {
    return ProtocolError("a finding is not a JSON object with source, kind, rank, text and other");
  }
  Finding finding;
  finding.source = static_cast<Finding::Source>(json["source"].get<int>());
  finding.kind = static_cast<ErrorKind>(json["kind"].get<int>());
  finding.rank = json["rank"].get<Rank>();
  finding.text = json["text"].get<std::string>();
  finding.other = json["other"].get<Rank>();
  return finding;
}

arrow::Status ToStatus(const Finding& finding, Rank own_rank, const std::string& host, const std::string& operation,
                       uint64_t sequence, bool agreed) {
  switch (finding.kind) {
    case ErrorKind::kRankFailed:
      if (finding.rank == own_rank && finding.source == Finding::Source::kItself) {
        return arrow::Status::Cancelled("this rank gave up", operation.empty() ? "" : " in ",
                                        operation.empty() ? "" : During(operation, sequence), ": ", finding.text,
                                        "; the others were told; close the context and make a new one");
      }
      if (finding.source == Finding::Source::kDeparture) {
        return LeftError(finding, host, operation, sequence, agreed);
      }
      if (finding.rank == own_rank && finding.source != Finding::Source::kLauncher) {
        return GivenUpError(finding, host, operation, sequence, agreed);
      }
      return RankFailedError(finding.rank, host, finding.text, operation, sequence, agreed);
    case ErrorKind::kLinkLost:
      return LinkLostError(finding.rank, finding.other, finding.text, operation, sequence, agreed);
    case ErrorKind::kIsolated:
      return IsolatedError(own_rank, finding.text, operation, sequence);
    case ErrorKind::kCollectiveMismatch:
      return CollectiveMismatchError(finding.text, finding.rank);
    case ErrorKind::kDeadline:
      return PastDeadline(finding, operation, sequence);
    case ErrorKind::kRemote: {
      arrow::Status status;
      if (!DecodeStatus(finding.text, &status).ok() || status.ok()) {
        status = arrow::Status::UnknownError(finding.text);
      }
      return finding.rank == own_rank ? status : RemoteError(finding.rank, status);
    }
    default:
      return ProtocolError(finding.text, finding.rank);
  }
}

}  // namespace cylon::internal
