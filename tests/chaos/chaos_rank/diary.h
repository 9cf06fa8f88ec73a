/// What a rank tells the chaos runner: lines of a file of its own, each written at once.
#pragma once

#include <arrow/status.h>

#include <cstdint>
#include <string>

#include "cylon/base/error.h"

namespace cylon::chaos {

class Diary {
 public:
  /// Lines go to the end of `path`; a rank that is killed leaves those it has written.
  explicit Diary(const std::string& path);
  ~Diary();
  Diary(const Diary&) = delete;
  Diary& operator=(const Diary&) = delete;

  /// {"event": event, "at": seconds of the machine's monotonic clock, "number": number}
  void Note(const std::string& event, int64_t number = 0);
  /// How it ended: {"event": "end", "outcome": "ok"}, or "error" with what the error says of itself, or "wrong" with
  /// what was wrong of an answer.
  void End(const arrow::Status& status);

 private:
  int file_;
};

/// An answer that is not the right one: no error of the library's, but of what it computed.
arrow::Status WrongAnswer(const std::string& what);

}  // namespace cylon::chaos
