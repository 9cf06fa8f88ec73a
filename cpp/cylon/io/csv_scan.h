/// Where lines of CSV text begin, found from any byte on.
///
/// Splitting a file among ranks means to find line ends without reading what lies before. Without newlines in quotes a
/// line end is a byte. With them, a rank follows the text from all states it may begin in at once, tells the others
/// where each leads, and learns from the ranks before it which one is true (Ge et al., "Speculative Distributed CSV
/// Data Parsing", SIGMOD 2019; there with two states, here with all, so that stray quotes are right too).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "cylon/base/export.h"

namespace cylon::csv {

/// What the text before a byte makes of it. The transitions are those of Arrow's CSV parser: a quote opens a quoted
/// value only where a value begins.
enum class State : uint8_t { kLineStart, kValueStart, kValue, kQuoted, kQuoteInQuoted };
inline constexpr int kStates = 5;

/// Where each state leads over a piece of text.
using StateMap = std::array<State, kStates>;

inline constexpr StateMap kIdentity = {State::kLineStart, State::kValueStart, State::kValue, State::kQuoted,
                                       State::kQuoteInQuoted};

/// First `first`, then `second`.
CYLON_EXPORT StateMap Compose(const StateMap& first, const StateMap& second);

/// A map as a number, for a message.
CYLON_EXPORT int64_t Pack(const StateMap& map);
CYLON_EXPORT StateMap Unpack(int64_t packed);

/// Follows lines of one dialect.
class CYLON_EXPORT LineScanner {
 public:
  /// With `quotes` false every line end counts, also one in quotes.
  LineScanner(char delimiter, char quote, bool quotes);

  bool quotes() const { return quotes_; }

  State Next(State state, char byte) const {
    return table_[static_cast<size_t>(state)][static_cast<size_t>(classes_[static_cast<unsigned char>(byte)])];
  }
  State Run(State state, std::string_view text) const;
  /// Run from every state at once.
  StateMap RunAll(const StateMap& states, std::string_view text) const;

  /// Index just behind the first line end, from `*state` on; npos where there is none, and then `*state` is the one
  /// behind `text`. "\r\n" counts as an end and an empty line.
  size_t FirstLineBegin(State* state, std::string_view text) const;
  /// Index just behind the last line end of `text`, which begins a line; npos where there is none.
  size_t LastLineBegin(std::string_view text) const;

  /// Calls visit(offset, line without its end) for every line of `text`, which begins a line, that is not empty, until
  /// it returns false.
  void ForEachLine(std::string_view text, const std::function<bool(size_t, std::string_view)>& visit) const;

 private:
  enum Class : uint8_t { kOther, kDelimiter, kQuote, kNewline, kClasses };
  bool quotes_;
  std::array<Class, 256> classes_{};
  std::array<std::array<State, kClasses>, kStates> table_{};
};

}  // namespace cylon::csv
