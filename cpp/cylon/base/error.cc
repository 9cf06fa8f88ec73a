// Errors that callers must tell apart.
#include "cylon/base/error.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace cylon {

namespace {

constexpr const char* kTypeId = "cylon::ErrorDetail";

arrow::Status Make(arrow::StatusCode code, std::string message, std::shared_ptr<ErrorDetail> detail) {
  return arrow::Status(code, std::move(message), std::move(detail));
}

const char* KindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kRankFailed:
      return "RankFailedError";
    case ErrorKind::kCollectiveMismatch:
      return "CollectiveMismatchError";
    case ErrorKind::kProtocol:
      return "ProtocolError";
    case ErrorKind::kDeadline:
      return "DeadlineError";
    case ErrorKind::kAuthentication:
      return "AuthenticationError";
    case ErrorKind::kOutOfMemory:
      return "OutOfMemoryError";
    case ErrorKind::kRemote:
      return "an error of another rank";
    case ErrorKind::kLinkLost:
      return "LinkLostError";
    case ErrorKind::kIsolated:
      return "IsolatedError";
    case ErrorKind::kRankTaken:
      return "RankTakenError";
  }
  return "unknown";
}

/// Where this rank was when it learned of a failure.
std::string WasIn(const ErrorDetail& detail) {
  if (detail.operation.empty()) {
    return "";
  }
  return "; this rank was in " + detail.operation + " (operation " + std::to_string(detail.sequence) + ")";
}

std::string NotAgreed(const ErrorDetail& detail) {
  return detail.agreed ? "" : "; no store has settled it, so other ranks may name another cause";
}

std::shared_ptr<ErrorDetail> Failure(ErrorKind kind, Rank rank, std::string cause, std::string operation,
                                     uint64_t sequence, bool agreed) {
  auto detail = std::make_shared<ErrorDetail>(kind);
  detail->rank = rank;
  detail->cause = std::move(cause);
  detail->operation = std::move(operation);
  detail->sequence = sequence;
  detail->agreed = agreed;
  return detail;
}

}  // namespace

const char* ErrorDetail::type_id() const { return kTypeId; }

std::string ErrorDetail::ToString() const {
  std::string text = KindName(kind);
  if (rank >= 0) {
    text += ", rank " + std::to_string(rank);
  }
  return text;
}

std::shared_ptr<ErrorDetail> GetErrorDetail(const arrow::Status& status) {
  if (status.ok() || status.detail() == nullptr || std::string_view(status.detail()->type_id()) != kTypeId) {
    return nullptr;
  }
  return std::static_pointer_cast<ErrorDetail>(status.detail());
}

bool IsError(const arrow::Status& status, ErrorKind kind) {
  auto detail = GetErrorDetail(status);
  return detail != nullptr && detail->kind == kind;
}

arrow::Status RankFailedError(Rank rank, std::string host, std::string cause, std::string operation, uint64_t sequence,
                              bool agreed) {
  auto detail = Failure(ErrorKind::kRankFailed, rank, std::move(cause), std::move(operation), sequence, agreed);
  detail->host = std::move(host);
  std::string message = "rank " + std::to_string(rank);
  if (!detail->host.empty()) {
    message += " on " + detail->host;
  }
  message += " failed: " + detail->cause + WasIn(*detail) + NotAgreed(*detail) +
             ". Nothing of the operation was kept; start the job again";
  return Make(arrow::StatusCode::IOError, std::move(message), std::move(detail));
}

arrow::Status LinkLostError(Rank a, Rank b, std::string cause, std::string operation, uint64_t sequence, bool agreed) {
  auto detail = Failure(ErrorKind::kLinkLost, std::min(a, b), std::move(cause), std::move(operation), sequence, agreed);
  detail->other = std::max(a, b);
  std::string message = "the link between ranks " + std::to_string(detail->rank) + " and " +
                        std::to_string(detail->other) + ", which both live, was lost: " + detail->cause +
                        WasIn(*detail) + NotAgreed(*detail) +
                        ". Look for what blocks the way between their machines, then start the job again";
  return Make(arrow::StatusCode::IOError, std::move(message), std::move(detail));
}

arrow::Status IsolatedError(Rank own, std::string cause, std::string operation, uint64_t sequence) {
  auto detail = Failure(ErrorKind::kIsolated, own, std::move(cause), std::move(operation), sequence, false);
  std::string message = "rank " + std::to_string(own) + " reaches no other rank, nor the store: " + detail->cause +
                        WasIn(*detail) + ". Look at the network of this machine; what the other ranks do is not known";
  return Make(arrow::StatusCode::IOError, std::move(message), std::move(detail));
}

arrow::Status CollectiveMismatchError(std::string message, Rank rank) {
  auto detail = std::make_shared<ErrorDetail>(ErrorKind::kCollectiveMismatch);
  detail->rank = rank;
  return Make(arrow::StatusCode::Invalid, std::move(message), std::move(detail));
}

arrow::Status ProtocolError(std::string message, Rank peer) {
  auto detail = std::make_shared<ErrorDetail>(ErrorKind::kProtocol);
  detail->rank = peer;
  return Make(arrow::StatusCode::IOError, std::move(message), std::move(detail));
}

arrow::Status DeadlineError(std::string message, Rank rank) {
  auto detail = std::make_shared<ErrorDetail>(ErrorKind::kDeadline);
  detail->rank = rank;
  return Make(arrow::StatusCode::IOError, std::move(message), std::move(detail));
}

arrow::Status RankTakenError(std::string message, Rank rank) {
  auto detail = std::make_shared<ErrorDetail>(ErrorKind::kRankTaken);
  detail->rank = rank;
  return Make(arrow::StatusCode::Invalid, std::move(message), std::move(detail));
}

arrow::Status AuthenticationError(std::string message) {
  return Make(arrow::StatusCode::IOError, std::move(message),
              std::make_shared<ErrorDetail>(ErrorKind::kAuthentication));
}

arrow::Status OutOfMemoryError(std::string message) {
  return Make(arrow::StatusCode::OutOfMemory, std::move(message),
              std::make_shared<ErrorDetail>(ErrorKind::kOutOfMemory));
}

arrow::Status RemoteError(Rank from, const arrow::Status& status) {
  auto known = GetErrorDetail(status);
  // An error that already names its rank keeps its kind; what was a plain local error becomes a remote one.
  auto detail = known ? std::make_shared<ErrorDetail>(*known) : std::make_shared<ErrorDetail>(ErrorKind::kRemote);
  if (detail->rank < 0) {
    detail->rank = from;
  }
  return Make(status.code(), "on rank " + std::to_string(from) + ": " + status.message(), std::move(detail));
}

std::string EncodeStatus(const arrow::Status& status) {
  nlohmann::json json{{"code", static_cast<int>(status.code())}, {"message", status.message()}};
  if (auto detail = GetErrorDetail(status)) {
    json["detail"] = {{"kind", static_cast<int>(detail->kind)},
                      {"rank", detail->rank},
                      {"host", detail->host},
                      {"other", detail->other},
                      {"operation", detail->operation},
                      {"sequence", detail->sequence},
                      {"cause", detail->cause},
                      {"agreed", detail->agreed}};
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

arrow::Status DecodeStatus(std::string_view bytes, arrow::Status* decoded) {
  if (bytes.size() > kMaxStatusBytes) {
    return ProtocolError("a peer's status has " + std::to_string(bytes.size()) + " bytes, expected at most " +
                         std::to_string(kMaxStatusBytes));
  }
  auto json = nlohmann::json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("code") || !json["code"].is_number_integer() || !json.contains("message") ||
      !json["message"].is_string()) {
    return ProtocolError("a peer's status is not a JSON object with code and message");
  }
  const auto code = json["code"].get<int64_t>();
  if (code == 0) {
    *decoded = arrow::Status::OK();
    return arrow::Status::OK();
  }
  if (code < 0 || code > 127) {
    return ProtocolError("a peer's status has the unknown code " + std::to_string(code));
  }
  std::shared_ptr<ErrorDetail> detail;
  if (json.contains("detail")) {
    const auto& fields = json["detail"];
    const auto kind = fields.is_object() && fields.contains("kind") && fields["kind"].is_number_integer()
                          ? fields["kind"].get<int64_t>()
                          : 0;
    if (kind < static_cast<int>(ErrorKind::kRankFailed) || kind > static_cast<int>(kLastErrorKind)) {
      return ProtocolError("a peer's status has an unknown kind of detail");
    }
    detail = std::make_shared<ErrorDetail>(static_cast<ErrorKind>(kind));
    auto text = [&](const char* name) {
      return fields.contains(name) && fields[name].is_string() ? fields[name].get<std::string>() : std::string();
    };
    detail->rank = fields.contains("rank") && fields["rank"].is_number_integer() ? fields["rank"].get<Rank>() : -1;
    detail->other = fields.contains("other") && fields["other"].is_number_integer() ? fields["other"].get<Rank>() : -1;
    detail->sequence =
        fields.contains("sequence") && fields["sequence"].is_number_unsigned() ? fields["sequence"].get<uint64_t>() : 0;
    detail->agreed = !fields.contains("agreed") || !fields["agreed"].is_boolean() || fields["agreed"].get<bool>();
    detail->host = text("host");
    detail->operation = text("operation");
    detail->cause = text("cause");
  }
  *decoded = arrow::Status(static_cast<arrow::StatusCode>(code), json["message"].get<std::string>(), std::move(detail));
  return arrow::Status::OK();
}

}  // namespace cylon
