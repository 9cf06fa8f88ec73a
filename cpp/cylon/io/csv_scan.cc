// Where lines of CSV text begin, found from any byte on.
#include "cylon/io/csv_scan.h"

#include <algorithm>

namespace cylon::csv {

StateMap Compose(const StateMap& first, const StateMap& second) {
  StateMap both;
  std::ranges::transform(first, both.begin(), [&](State state) { return second[static_cast<size_t>(state)]; });
  return both;
}

int64_t Pack(const StateMap& map) {
  int64_t packed = 0;
  for (const State state : map) {
    packed = packed * kStates + static_cast<int64_t>(state);
  }
  return packed;
}

StateMap Unpack(int64_t packed) {
  StateMap map;
  for (size_t i = map.size(); i-- > 0;) {
    map[i] = static_cast<State>(packed % kStates);
    packed /= kStates;
  }
  return map;
}

LineScanner::LineScanner(char delimiter, char quote, bool quotes) : quotes_(quotes) {
  classes_.fill(kOther);
  auto set = [&](char byte, Class kind) { classes_[static_cast<unsigned char>(byte)] = kind; };
  if (quotes) {
    set(delimiter, kDelimiter);
    set(quote, kQuote);
  }
  set('\n', kNewline);
  set('\r', kNewline);

  auto row = [&](State state) -> auto& { return table_[static_cast<size_t>(state)]; };
  //                             other          delimiter            quote                  newline
  row(State::kLineStart) = {State::kValue, State::kValueStart, State::kQuoted, State::kLineStart};
  row(State::kValueStart) = row(State::kLineStart);
  row(State::kValue) = {State::kValue, State::kValueStart, State::kValue, State::kLineStart};
  row(State::kQuoted) = {State::kQuoted, State::kQuoted, State::kQuoteInQuoted, State::kQuoted};
  row(State::kQuoteInQuoted) = {State::kValue, State::kValueStart, State::kQuoted, State::kLineStart};
}

State LineScanner::Run(State state, std::string_view text) const {
  for (const char byte : text) {
    state = Next(state, byte);
  }
  return state;
}

StateMap LineScanner::RunAll(const StateMap& states, std::string_view text) const {
  // The states soon fall together into two, inside and outside of quotes; each distinct one is followed once.
  StateMap from = states;
  constexpr size_t kStride = 256;
  for (size_t begin = 0; begin < text.size(); begin += kStride) {
    const std::string_view part = text.substr(begin, kStride);
    StateMap distinct = kIdentity;
    std::array<bool, kStates> known{};
    for (State& state : from) {
      const auto index = static_cast<size_t>(state);
      if (!known[index]) {
        known[index] = true;
        distinct[index] = Run(state, part);
      }
      state = distinct[index];
    }
  }
  return from;
}

size_t LineScanner::FirstLineBegin(State* state, std::string_view text) const {
  if (!quotes_) {
    const size_t end = text.find_first_of("\r\n");
    *state = end == std::string_view::npos ? State::kValue : State::kLineStart;
    return end == std::string_view::npos ? end : end + 1;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    *state = Next(*state, text[i]);
    if (*state == State::kLineStart) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

size_t LineScanner::LastLineBegin(std::string_view text) const {
  if (!quotes_) {
    const size_t end = text.find_last_of("\r\n");
    return end == std::string_view::npos ? end : end + 1;
  }
  size_t last = std::string_view::npos;
  State state = State::kLineStart;
  for (size_t i = 0; i < text.size(); ++i) {
    state = Next(state, text[i]);
    if (state == State::kLineStart) {
      last = i + 1;
    }
  }
  return last;
}

void LineScanner::ForEachLine(std::string_view text, const std::function<bool(size_t, std::string_view)>& visit) const {
  size_t begin = 0;
  while (begin < text.size()) {
    State state = State::kLineStart;
    const std::string_view rest = text.substr(begin);
    const size_t next = std::min(FirstLineBegin(&state, rest), rest.size());
    std::string_view line = rest.substr(0, next);
    if (state == State::kLineStart && !line.empty()) {
      line.remove_suffix(1);
    }
    if (!line.empty() && !visit(begin, line)) {
      return;
    }
    begin += next;
  }
}

}  // namespace cylon::csv
