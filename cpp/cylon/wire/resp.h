/// The protocol of Redis servers (RESP2): commands as bytes, and replies out of bytes.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cylon {

/// A line: a simple string, an error, a number or a length.
inline constexpr size_t kMaxRespLine = 64 << 10;
/// A value of a store is at most 16 MiB.
inline constexpr size_t kMaxRespBulk = 17 << 20;
inline constexpr size_t kMaxRespElements = 1024;
/// Arrays in arrays; what is read from streams lies five deep.
inline constexpr size_t kMaxRespDepth = 5;
/// All of one reply, as it lies in memory: without it, nested arrays could hold 1024 to the fourth power of elements.
inline constexpr size_t kMaxRespReply = 20 << 20;

/// A reply. Which member counts depends on its kind.
struct RespValue {
  enum class Kind : uint8_t { kNull, kSimple, kError, kInteger, kBulk, kArray };
  Kind kind = Kind::kNull;
  std::string text;                 ///< of a simple string, an error or a bulk string
  int64_t number = 0;               ///< of an integer
  std::vector<RespValue> elements;  ///< of an array

  bool operator==(const RespValue& other) const = default;
};

/// "a simple string", "null": the kind of a reply, for messages.
const char* RespKindName(RespValue::Kind kind);

/// `words` (the command's name and its arguments) as a server reads them: an array of bulk strings.
std::string EncodeRespCommand(const std::vector<std::string>& words);

/// Takes replies apart, whatever pieces their bytes come in. Holds the reply under way and nothing else; every length
/// is checked before memory is taken for it.
///
///   +text\r\n             simple string        :123\r\n                      integer
///   -CODE text\r\n        error                $4\r\n????\r\n   $-1\r\n      bulk string; null
///                                              *2\r\n<value><value>  *-1\r\n  array; null
class RespDecoder {
 public:
  /// Takes bytes off the front of `bytes` until a reply is whole, and returns it; nothing where all were taken before.
  /// ProtocolError where they are no reply or exceed a limit; then nothing more can be read.
  arrow::Result<std::optional<RespValue>> Next(std::string_view* bytes);

 private:
  struct Array {
    RespValue value;
    size_t missing;
  };

  arrow::Result<std::optional<RespValue>> Step(std::string_view* bytes);
  arrow::Result<std::optional<RespValue>> Line(std::string_view line);
  arrow::Result<std::optional<RespValue>> BeginBulk(int64_t length);
  arrow::Result<std::optional<RespValue>> BeginArray(int64_t count);
  std::optional<RespValue> Finish(RespValue value);
  arrow::Status Charge(size_t bytes);

  std::string line_;               // what came of the line under way
  std::optional<RespValue> bulk_;  // the bulk string under way
  size_t bulk_size_ = 0;           // its bytes, with the line end after them
  std::vector<Array> arrays_;      // the arrays under way, the outermost first
  size_t charged_ = 0;             // of the reply under way
  arrow::Status failed_;
};

}  // namespace cylon
