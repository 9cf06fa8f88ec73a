// What the ways to meet in a store share.
#include "cylon/bootstrap/meeting.h"

#include "cylon/base/error.h"

namespace cylon::internal {

Json CardToJson(const AddressCard& card) {
  return {{"host", card.host}, {"process", card.process}, {"address", card.address}, {"watch", card.watch}};
}

arrow::Result<AddressCard> CardFromJson(const Json& json) {
  if (!json.is_object() || !json.contains("host") || !json["host"].is_string() || !json.contains("process") ||
      !json["process"].is_number_integer() || !json.contains("address") || !json["address"].is_string() ||
      !json.contains("watch") || !json["watch"].is_string()) {
    return ProtocolError("an address card in the store is malformed; is another program using this store?");
  }
  return AddressCard{json["host"].get<std::string>(), json["process"].get<int64_t>(),
                     json["address"].get<std::string>(), json["watch"].get<std::string>()};
}

arrow::Result<Json> ParseObject(const std::string& key, const std::string& text) {
  constexpr int kDeepest = 4;  // a table has cards in an array in an object
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= kDeepest; };
  auto json = Json::parse(text, shallow, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return ProtocolError("'" + key + "' in the store holds no JSON object; is another program using this store?");
  }
  return json;
}

int64_t IntegerIn(const Json& object, const char* name, int64_t otherwise) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}

std::string TextIn(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool FlagIn(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

arrow::Status ProblemIn(const std::string& key, const std::string& text) {
  arrow::Status problem;
  ARROW_RETURN_NOT_OK(DecodeStatus(text, &problem));
  return problem.ok() ? ProtocolError("'" + key + "' in the store tells of no problem; is another program using it?")
                      : problem;
}

std::string Who(const Json& card) {
  auto read = CardFromJson(card);
  return read.ok() ? "process " + std::to_string(read->process) + " on " + read->host : "an unknown process";
}

Co<std::optional<std::string>> Look(Store* store, std::string key) {
  auto get = store->TryGet(key);
  auto value = co_await get;
  if (value.ok()) {
    co_return std::optional<std::string>(std::move(*value));
  }
  if (value.status().IsKeyError()) {
    co_return std::optional<std::string>();
  }
  co_return value.status();
}

Co<void> Pause(Executor& executor, std::shared_ptr<const std::atomic<bool>> abandoned, Duration time) {
  auto done = arrow::Future<>::Make();
  executor.PostAt(executor.Now() + time, [done]() mutable { done.MarkFinished(); });
  CYLON_CO_RETURN_NOT_OK(co_await done);
  co_return abandoned && abandoned->load() ? arrow::Status::Cancelled("joining was given up") : arrow::Status::OK();
}

}  // namespace cylon::internal
