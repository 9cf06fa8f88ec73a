/// What the ways to meet in a store share: address cards as text, looks that do not wait, pauses between them.
#pragma once

#include <arrow/result.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cylon/base/co.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"

namespace cylon::internal {

using Json = nlohmann::json;

/// Between two looks into a store: doubled from look to look, so that those who come together meet at once.
inline constexpr Duration kFirstPoll = std::chrono::milliseconds(2);
inline constexpr Duration kLongestPoll = std::chrono::milliseconds(50);

Json CardToJson(const AddressCard& card);
/// ProtocolError where `json` is no card.
arrow::Result<AddressCard> CardFromJson(const Json& json);
/// What another process wrote under `key`; a store is only as trustworthy as whoever can write to it. What lies deeper
/// in it than in any table of ranks is left out: objects are copied and written by functions that call themselves.
arrow::Result<Json> ParseObject(const std::string& key, const std::string& text);
/// Member `name` of an object; `otherwise` (no text, false) where it is not there or is of another type.
int64_t IntegerIn(const Json& object, const char* name, int64_t otherwise);
std::string TextIn(const Json& object, const char* name);
bool FlagIn(const Json& object, const char* name);
/// The error that another process wrote under `key`. Never OK.
arrow::Status ProblemIn(const std::string& key, const std::string& text);
/// "process 17 on node3", for messages.
std::string Who(const Json& card);

/// The value of `key` now, or nothing.
Co<std::optional<std::string>> Look(Store* store, std::string key);

/// Cancelled once `abandoned` (or none) is set: whoever started this waits no more.
Co<void> Pause(Executor& executor, std::shared_ptr<const std::atomic<bool>> abandoned, Duration time);

}  // namespace cylon::internal
