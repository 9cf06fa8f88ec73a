// What ranks print, line by line, on its way to the launcher's own output.
#include "launcher_output.h"

#include <fcntl.h>
#include <limits.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace cylon::tools {

namespace {

constexpr size_t kLongestLine = 16 << 20;
/// Enough for the terminal or the next program to be busy with, while memory stays small.
constexpr size_t kQueueBytes = 4 << 20;
constexpr size_t kFilePiece = 1 << 20;

}  // namespace

void LinePrefixer::Add(std::string_view text, std::string* out) {
  while (!text.empty()) {
    // A carriage return at the end of what was kept may be half of "\r\n".
    const bool held_return = !partial_.empty() && partial_.back() == '\r';
    size_t end = 0;
    if (held_return) {
      end = text.front() == '\n' ? 1 : 0;
    } else {
      const size_t at = text.find_first_of("\r\n");
      if (at == std::string_view::npos || (text[at] == '\r' && at + 1 == text.size())) {
        partial_ += text;
        if (partial_.size() >= kLongestLine) {
          Finish(out);
        }
        return;
      }
      end = at + (text[at] == '\r' && text[at + 1] == '\n' ? 2 : 1);
    }
    *out += prefix_;
    *out += partial_;
    *out += text.substr(0, end);
    partial_.clear();
    text.remove_prefix(end);
  }
}

void LinePrefixer::Finish(std::string* out) {
  if (!partial_.empty()) {
    *out += prefix_;
    *out += partial_;
    if (partial_.back() != '\r') {
      *out += '\n';
    }
    partial_.clear();
  }
}

OutputQueue::OutputQueue(int fd) : fd_(fd), piece_(PIPE_BUF) {
  struct stat status{};
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    piece_ = kFilePiece;
  }
}

bool OutputQueue::full() const { return text_.size() - sent_ > kQueueBytes; }

void OutputQueue::WriteSome() {
  // Where poll reports room, a pipe takes PIPE_BUF bytes without blocking.
  const ssize_t written = ::write(fd_, text_.data() + sent_, std::min(piece_, text_.size() - sent_));
  if (written < 0) {
    if (errno != EINTR && errno != EAGAIN) {
      Close();
    }
    return;
  }
  sent_ += static_cast<size_t>(written);
  if (sent_ == text_.size() || sent_ > kQueueBytes) {
    text_.erase(0, sent_);
    sent_ = 0;
  }
}

void OutputQueue::Close() {
  closed_ = true;
  text_.clear();
  sent_ = 0;
}

arrow::Result<std::pair<int, int>> OpenChannel(int stream) {
  int ends[2];
  int rc = 0;
  if (::isatty(stream) != 0) {
    winsize size{};
    ::ioctl(stream, TIOCGWINSZ, &size);
    termios plain{};
    ::cfmakeraw(&plain);  // bytes pass as they are
    rc = ::openpty(&ends[0], &ends[1], nullptr, &plain, &size);
    if (rc == 0) {
      ::fcntl(ends[0], F_SETFD, FD_CLOEXEC);
      ::fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    }
  } else {
    rc = ::pipe2(ends, O_CLOEXEC);
  }
  if (rc != 0) {
    return arrow::Status::IOError("cannot open a channel for its output: ", std::strerror(errno),
                                  "; use fewer ranks, or raise the open-file limit (ulimit -n)");
  }
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return std::pair(ends[0], ends[1]);
}

bool SameFile(int one, int other) {
  struct stat a{};
  struct stat b{};
  return ::fstat(one, &a) == 0 && ::fstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace cylon::tools
