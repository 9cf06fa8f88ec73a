// Secrets, out of options and of files that only their owners may read.
#include "cylon/base/secret.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "cylon/base/error.h"
#include "cylon/base/options.h"
#include "cylon/base/random.h"

namespace cylon {

namespace {

constexpr size_t kSecretBytes = 32;

/// Closes a file descriptor.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

arrow::Result<std::string> Decode(const std::string& text, const std::string& what, const std::string& where) {
  auto bytes = HexDecode(text);
  if (!bytes.ok() || bytes->size() != kSecretBytes) {
    // The text itself stays out of the message: messages end in logs.
    return AuthenticationError("the " + what + " in " + where + " is not 64 hexadecimal digits (it has " +
                               std::to_string(text.size()) + " characters); make one with: openssl rand -hex 32");
  }
  return bytes;
}

std::string WithoutSpaceAtTheEnd(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.pop_back();
  }
  return text;
}

/// A credential that systemd passes on to a service is root's, read-only, with a list that has the service's user; a
/// list shows as a right of the group (here root's own) to read.
bool OthersMayRead(const struct stat& info) {
  const bool credential = info.st_uid == 0 && info.st_gid == 0 && (info.st_mode & 0777) == 0440;
  return !credential && (info.st_mode & 077) != 0;
}

arrow::Result<std::string> ReadUpTo(int file, const std::string& called, size_t most) {
  std::string text(most, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return AuthenticationError("cannot read " + called + ": " + std::strerror(errno));
    }
    if (got == 0) {
      break;
    }
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace

arrow::Result<std::string> ReadPrivateFile(const std::string& path, std::string_view what, std::string_view hint,
                                           size_t most) {
  const std::string called = "the " + std::string(what) + " file " + path;
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat info{};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) {
    return AuthenticationError("cannot read " + called + ": " + std::strerror(errno) + "; " + std::string(hint));
  }
  if (!S_ISREG(info.st_mode)) {
    return AuthenticationError(called + " is not a regular file; name a file with mode 0600");
  }
  if (OthersMayRead(info)) {
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(info.st_mode & 07777));
    return AuthenticationError(called + " has mode " + mode.data() + ", so others may know the " + std::string(what) +
                               "; run: chmod 600 " + path);
  }
  if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    return AuthenticationError(called + " belongs to user " + std::to_string(info.st_uid) +
                               ", not to this process's user " + std::to_string(::geteuid()) +
                               "; use a file of your own with mode 0600");
  }
  // A line's end, and one byte more, so that a longer file is seen to be longer.
  ARROW_ASSIGN_OR_RAISE(std::string text, ReadUpTo(file.get(), called, most + 3));
  return WithoutSpaceAtTheEnd(std::move(text));
}

arrow::Result<std::string> ReadKeyFile(const std::string& path, std::string_view what, std::string_view hint) {
  ARROW_ASSIGN_OR_RAISE(const std::string text, ReadPrivateFile(path, what, hint, 2 * kSecretBytes));
  return Decode(text, std::string(what), path);
}

arrow::Result<std::string> ReadSecret(const Options& options) {
  if (!options.secret.empty()) {
    return Decode(WithoutSpaceAtTheEnd(options.secret), "secret", "the option 'secret' (CYLON_SECRET)");
  }
  if (options.secret_file.empty()) {
    return std::string();
  }
  return ReadKeyFile(options.secret_file, "secret",
                     "set CYLON_SECRET_FILE to a file with mode 0600 that holds 64 hexadecimal digits");
}

}  // namespace cylon
