/// What channels and ranks cost, out of one dated file.
#pragma once

#include <arrow/result.h>

#include <map>
#include <string>
#include <string_view>

#include "cylon/base/export.h"

namespace cylon {

/// In US dollars.
struct ChannelPrice {
  double per_message = 0;
  double per_byte = 0;
  double per_second = 0;  ///< for what has to run all the time: a server, whoever uses it
};

/// In US dollars.
struct Prices {
  std::string as_of;   ///< "2026-11"
  std::string region;  ///< where and whose they are
  double rank_per_gib_second = 0;
  std::map<std::string, ChannelPrice, std::less<>> channels;  ///< by name: "direct", "relay", "redis", "object"

  /// Of a way between ranks ("relay"), or of a transport as CYLON_TRANSPORT names it: those that connect ranks with
  /// each other are "direct". What the file does not have costs nothing.
  ChannelPrice Of(std::string_view way) const;
};

/// Invalid that says what is wrong and where, for what is no such file: all prices are numbers from 0 on.
CYLON_EXPORT arrow::Result<Prices> ParsePrices(std::string_view json);

/// The file at `path`, or those that are built in where it is "".
CYLON_EXPORT arrow::Result<Prices> ReadPrices(const std::string& path);

}  // namespace cylon
