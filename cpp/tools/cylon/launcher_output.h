/// What ranks print, line by line, on its way to the launcher's own output.
#pragma once

#include <arrow/result.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace cylon::tools {

/// Cuts one rank's output into lines and puts "[2] " before each. A line that ends in a carriage return alone, as
/// progress lines do, passes as it is. A line of more than 16 MiB is cut there.
class LinePrefixer {
 public:
  explicit LinePrefixer(std::string prefix) : prefix_(std::move(prefix)) {}

  /// Appends the lines that `text` completes to `out`; keeps the rest.
  void Add(std::string_view text, std::string* out);
  /// The stream has ended: what is left becomes a line.
  void Finish(std::string* out);

 private:
  std::string prefix_;
  std::string partial_;
};

/// Text waiting for a file descriptor. Writes never block longer than a pipe takes to store a few KiB.
class OutputQueue {
 public:
  explicit OutputQueue(int fd);

  int fd() const { return fd_; }
  std::string* text() { return &text_; }
  bool empty() const { return sent_ == text_.size(); }
  /// True where readers should wait: what the terminal or pipe does not take must not pile up in memory.
  bool full() const;
  /// True once the other side has gone: nothing more can be written.
  bool closed() const { return closed_; }

  /// Writes some; called when poll says that the descriptor takes it.
  void WriteSome();
  /// Drops what is left.
  void Close();

 private:
  int fd_;
  size_t piece_;
  std::string text_;
  size_t sent_ = 0;
  bool closed_ = false;
};

/// The two ends, to read and to write, of what stands for this process's `stream` in a rank: a pipe, or a terminal of
/// its own where `stream` is one, so that the rank sees the same. IOError where there are too many.
arrow::Result<std::pair<int, int>> OpenChannel(int stream);

/// True where both descriptors lead to one file, pipe or terminal.
bool SameFile(int one, int other);

}  // namespace cylon::tools
