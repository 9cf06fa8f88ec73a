// Agreements.
#include "cylon/comm/agree.h"

#include <nlohmann/json.hpp>

namespace cylon::internal {

namespace {

struct Decoded {
  std::string signature;
  std::string site;  // "": not told
  arrow::Status status;
  std::vector<int64_t> values;
};

arrow::Status Decode(const arrow::Buffer& bytes, Rank from, Decoded* out) {
  const auto json = nlohmann::json::parse(std::string_view(bytes), nullptr, /*allow_exceptions=*/false);
  bool sound = json.is_object() && json.contains("signature") && json["signature"].is_string() &&
               json.contains("values") && json["values"].is_array();
  for (size_t i = 0; sound && i < json["values"].size(); ++i) {
    sound = json["values"][i].is_number_integer();
  }
  if (!sound) {
    return ProtocolError(
        "the proposal of rank " + std::to_string(from) + " is not a JSON object with signature and values", from);
  }
  out->signature = json["signature"].get<std::string>();
  out->site = json.contains("site") && json["site"].is_string() ? json["site"].get<std::string>() : "";
  out->values = json["values"].get<std::vector<int64_t>>();
  if (json.contains("status") && json["status"].is_string()) {
    return DecodeStatus(json["status"].get<std::string>(), &out->status);
  }
  return arrow::Status::OK();
}

std::string Named(Rank rank) { return "rank " + std::to_string(rank); }

std::string At(const Decoded& proposal) { return proposal.site.empty() ? "" : " at " + proposal.site; }

}  // namespace

std::shared_ptr<arrow::Buffer> EncodeProposal(const Proposal& proposal, const std::string& site) {
  nlohmann::json json{{"signature", proposal.signature}, {"values", proposal.values}};
  if (!site.empty()) {
    json["site"] = site;
  }
  if (!proposal.status.ok()) {
    json["status"] = EncodeStatus(proposal.status);
  }
  return arrow::Buffer::FromString(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

arrow::Result<Agreement> Conclude(const Buffers& proposals, const std::vector<Rank>& members, Rank own_rank,
                                  const Proposal& own) {
  std::vector<Decoded> decoded(proposals.size());
  for (size_t i = 0; i < proposals.size(); ++i) {
    ARROW_RETURN_NOT_OK(Decode(*proposals[i], members[i], &decoded[i]));
  }
  for (size_t i = 1; i < decoded.size(); ++i) {
    if (decoded[i].signature != decoded[0].signature) {
      return CollectiveMismatchError(Named(members[0]) + " called " + decoded[0].signature + At(decoded[0]) + " but " +
                                         Named(members[i]) + " called " + decoded[i].signature + At(decoded[i]) +
                                         "; every rank has to make the same calls in the same order",
                                     members[i]);
    }
  }
  for (size_t i = 0; i < decoded.size(); ++i) {
    if (!decoded[i].status.ok()) {
      return static_cast<Rank>(i) == own_rank ? own.status : RemoteError(members[i], decoded[i].status);
    }
  }
  Agreement agreement;
  const size_t count = decoded[0].values.size();
  for (size_t i = 0; i < decoded.size(); ++i) {
    if (decoded[i].values.size() != count) {
      return CollectiveMismatchError(Named(members[0]) + " brought " + std::to_string(count) + " values to " +
                                         decoded[0].signature + At(decoded[0]) + " but " + Named(members[i]) +
                                         " brought " + std::to_string(decoded[i].values.size()) + At(decoded[i]) +
                                         "; every rank has to bring the same number",
                                     members[i]);
    }
    agreement.values.push_back(std::move(decoded[i].values));
  }
  return agreement;
}

}  // namespace cylon::internal
