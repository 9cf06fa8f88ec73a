// One file per key, in a directory that all processes see.
#include "cylon/bootstrap/directory_store.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>

#include "cylon/base/random.h"
#include "cylon/bootstrap/key_values.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

namespace {

/// Between looks at a key that is not there: short at first, then what a network file system bears.
constexpr auto kFirstPause = std::chrono::milliseconds(1);
constexpr auto kLongestPause = std::chrono::milliseconds(50);
/// File systems take names up to 255 bytes.
constexpr size_t kMaxName = 200;

/// A file name that no other key has and that leads nowhere else.
std::string FileName(const std::string& key) {
  std::string name = "k";
  for (const char c : key) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    name += plain ? std::string(1, c) : "%" + HexEncode(std::string_view(&c, 1));
  }
  if (name.size() > kMaxName) {
    std::string digest(SHA256_DIGEST_LENGTH, '\0');
    SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(),
           reinterpret_cast<unsigned char*>(digest.data()));
    name = "h" + HexEncode(digest);
  }
  return name;
}

arrow::Status Failed(const char* what, const std::string& path) {
  return arrow::Status::IOError("cannot ", what, " ", path, ": ", std::strerror(errno),
                                "; the store's directory has to be writable for all processes of the job");
}

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

/// The files. Its calls are short and block.
class Directory {
 public:
  explicit Directory(std::string path) : path_(std::move(path)) {}

  arrow::Status Set(const std::string& key, const std::string& value) const {
    ARROW_RETURN_NOT_OK(CheckKeyAndValue(key, value));
    ARROW_ASSIGN_OR_RAISE(const std::string fresh, WriteFresh(value));
    if (::rename(fresh.c_str(), Path(key).c_str()) != 0) {
      auto status = Failed("replace", Path(key));
      ::unlink(fresh.c_str());
      return status;
    }
    return arrow::Status::OK();
  }

  arrow::Result<std::string> SetIfAbsent(const std::string& key, const std::string& value) const {
    ARROW_RETURN_NOT_OK(CheckKeyAndValue(key, value));
    ARROW_ASSIGN_OR_RAISE(const std::string fresh, WriteFresh(value));
    arrow::Result<std::string> result = value;
    // A link fails where the name is taken, and what it names is whole.
    while (::link(fresh.c_str(), Path(key).c_str()) != 0) {
      if (errno != EEXIST) {
        result = Failed("make", Path(key));
        break;
      }
      result = TryGet(key);
      if (result.ok() || !result.status().IsKeyError()) {
        break;
      }
      result = value;  // deleted in between: once more
    }
    ::unlink(fresh.c_str());
    return result;
  }

  arrow::Result<std::string> TryGet(const std::string& key) const {
    ARROW_RETURN_NOT_OK(CheckKeyAndValue(key));
    const Descriptor file(::open(Path(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (file.get() < 0) {
      return errno == ENOENT ? NoSuchKey(key) : Failed("read", Path(key));
    }
    struct stat info{};
    if (::fstat(file.get(), &info) != 0) {
      return Failed("read", Path(key));
    }
    if (static_cast<size_t>(info.st_size) > kMaxValueBytes) {
      return arrow::Status::Invalid("the value in ", Path(key), " has ", info.st_size, " bytes; at most ",
                                    kMaxValueBytes, " are read");
    }
    std::string value(static_cast<size_t>(info.st_size), '\0');
    for (size_t at = 0; at < value.size();) {
      const ssize_t got = ::read(file.get(), value.data() + at, value.size() - at);
      if (got <= 0 && !(got < 0 && errno == EINTR)) {
        return Failed("read", Path(key));
      }
      at += got > 0 ? static_cast<size_t>(got) : 0;
    }
    return value;
  }

  arrow::Result<int64_t> Add(const std::string& key, int64_t amount) const {
    const std::string lock_path = path_ + "/.lock";
    const Descriptor lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock.get() < 0) {
      return Failed("open", lock_path);
    }
    while (::flock(lock.get(), LOCK_EX) != 0) {
      if (errno != EINTR) {
        return Failed("lock", lock_path);
      }
    }
    int64_t value = 0;
    auto text = TryGet(key);
    if (text.ok()) {
      ARROW_ASSIGN_OR_RAISE(value, ParseCounter(key, *text));
    } else if (!text.status().IsKeyError()) {
      return text.status();
    }
    ARROW_ASSIGN_OR_RAISE(const int64_t sum, AddToCounter(key, value, amount));
    ARROW_RETURN_NOT_OK(Set(key, std::to_string(sum)));
    return sum;
  }

  arrow::Status Delete(const std::string& key) const {
    if (::unlink(Path(key).c_str()) != 0 && errno != ENOENT) {
      return Failed("delete", Path(key));
    }
    return arrow::Status::OK();
  }

 private:
  std::string Path(const std::string& key) const { return path_ + "/" + FileName(key); }

  arrow::Result<std::string> WriteFresh(const std::string& value) const {
    ARROW_ASSIGN_OR_RAISE(const std::string random, RandomBytes(16));
    std::string path = path_ + "/.new-" + HexEncode(random);
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (file.get() < 0) {
      return Failed("make", path);
    }
    for (size_t at = 0; at < value.size();) {
      const ssize_t wrote = ::write(file.get(), value.data() + at, value.size() - at);
      if (wrote < 0 && errno != EINTR) {
        auto status = Failed("write", path);
        ::unlink(path.c_str());
        return status;
      }
      at += wrote > 0 ? static_cast<size_t>(wrote) : 0;
    }
    return path;
  }

  std::string path_;
};

class DirectoryStore : public Store {
 public:
  DirectoryStore(std::string path, Executor& executor)
      : executor_(executor), state_(std::make_shared<State>(std::move(path), executor)) {}

  ~DirectoryStore() override {
    RunNow(executor_, [state = state_] {
      state->closed = true;
      for (const auto& wait : std::exchange(state->waits, {})) {
        wait->Finish(StoreClosed());
      }
    });
  }

  arrow::Future<> Set(const std::string& key, const std::string& value) override {
    return Later<arrow::Future<>>([key, value](const Directory& files) { return files.Set(key, value); });
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value) override {
    return Later<arrow::Future<std::string>>(
        [key, value](const Directory& files) { return files.SetIfAbsent(key, value); });
  }
  arrow::Future<std::string> TryGet(const std::string& key) override {
    return Later<arrow::Future<std::string>>([key](const Directory& files) { return files.TryGet(key); });
  }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount) override {
    return Later<arrow::Future<int64_t>>([key, amount](const Directory& files) { return files.Add(key, amount); });
  }
  arrow::Future<> Delete(const std::string& key) override {
    return Later<arrow::Future<>>([key](const Directory& files) { return files.Delete(key); });
  }

  arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) override {
    auto wait = std::make_shared<Wait>();
    executor_.Post([state = state_, wait, key, deadline] {
      if (state->closed) {
        return wait->Finish(StoreClosed());
      }
      state->waits.insert(wait);
      Look(state, wait, key, deadline, kFirstPause);
    });
    return wait->done;
  }

 private:
  struct State {
    State(std::string path, Executor& on) : files(std::move(path)), executor(on) {}
    Directory files;
    Executor& executor;
    bool closed = false;
    std::set<std::shared_ptr<Wait>> waits;
  };

  static void Look(const std::shared_ptr<State>& state, const std::shared_ptr<Wait>& wait, const std::string& key,
                   TimePoint deadline, Duration pause) {
    auto value = state->files.TryGet(key);
    const auto now = state->executor.Now();
    if (value.ok() || !value.status().IsKeyError() || now >= deadline) {
      state->waits.erase(wait);
      const bool late = !value.ok() && value.status().IsKeyError();
      return wait->Finish(late ? arrow::Result<std::string>(GetTooLate(key)) : std::move(value));
    }
    wait->timer = state->executor.PostAt(
        std::min(deadline, now + pause), [weak = std::weak_ptr<State>(state), wait, key, deadline, pause] {
          auto self = weak.lock();
          if (self && !wait->done.is_finished()) {
            Look(self, wait, key, deadline, std::min<Duration>(2 * pause, kLongestPause));
          }
        });
  }

  template <typename F, typename W>
  F Later(W work) {
    auto done = F::Make();
    executor_.Post([state = state_, work = std::move(work), done]() mutable { done.MarkFinished(work(state->files)); });
    return done;
  }

  Executor& executor_;
  std::shared_ptr<State> state_;
};

}  // namespace

arrow::Result<std::unique_ptr<Store>> OpenDirectoryStore(const std::string& directory, Executor& executor) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error || !std::filesystem::is_directory(directory, error)) {
    return arrow::Status::IOError("cannot use ", directory,
                                  " as a store: ", error ? error.message() : std::string("it is not a directory"),
                                  "; check CYLON_STORE");
  }
  return std::make_unique<DirectoryStore>(directory, executor);
}

}  // namespace cylon
