// The job's secret, out of an option or a file that only its owner may read.
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

arrow::Result<std::string> Decode(std::string_view text, const std::string& where) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  auto bytes = HexDecode(text);
  if (!bytes.ok() || bytes->size() != kSecretBytes) {
    // The text itself stays out of the message: messages end in logs.
    return AuthenticationError("the secret in " + where + " is not 64 hexadecimal digits (it has " +
                               std::to_string(text.size()) + " characters); make one with: openssl rand -hex 32");
  }
  return bytes;
}

arrow::Result<std::string> ReadPrivateFile(const std::string& path) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat info{};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) {
    return AuthenticationError("cannot read the secret file " + path + ": " + std::strerror(errno) +
                               "; set CYLON_SECRET_FILE to a file with mode 0600 that holds 64 hexadecimal digits");
  }
  if (!S_ISREG(info.st_mode)) {
    return AuthenticationError("the secret file " + path + " is not a regular file; name a file with mode 0600");
  }
  if ((info.st_mode & 077) != 0) {
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(info.st_mode & 07777));
    return AuthenticationError("the secret file " + path + " has mode " + mode.data() +
                               ", so others may know the secret; run: chmod 600 " + path);
  }
  if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    return AuthenticationError("the secret file " + path + " belongs to user " + std::to_string(info.st_uid) +
                               ", not to this process's user " + std::to_string(::geteuid()) +
                               "; use a file of your own with mode 0600");
  }
  // One byte more than a secret with a line's end, so that a longer file is seen to be longer.
  std::array<char, (2 * kSecretBytes) + 3> text{};
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return AuthenticationError("cannot read the secret file " + path + ": " + std::strerror(errno));
    }
    if (got == 0) {
      break;
    }
    size += static_cast<size_t>(got);
  }
  return std::string(text.data(), size);
}

}  // namespace

arrow::Result<std::string> ReadSecret(const Options& options) {
  if (!options.secret.empty()) {
    return Decode(options.secret, "the option 'secret' (CYLON_SECRET)");
  }
  if (options.secret_file.empty()) {
    return std::string();
  }
  ARROW_ASSIGN_OR_RAISE(std::string text, ReadPrivateFile(options.secret_file));
  return Decode(text, options.secret_file);
}

}  // namespace cylon
