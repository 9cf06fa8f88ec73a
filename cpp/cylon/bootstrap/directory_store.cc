// One file per key, in a directory that all processes see.
//
// A file's time of modification lies in the future: it is when the key expires, by the clock of the file system. Every
// fresh file tells what time that clock has, so the clocks of the machines do not matter.
#include "cylon/bootstrap/directory_store.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <set>
#include <thread>

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
/// The lock is held for as long as it takes to write a file; a process that is stopped meanwhile must not stop others.
constexpr auto kLockPatience = std::chrono::seconds(5);
constexpr auto kLockPause = std::chrono::milliseconds(1);
/// A fresh file is renamed at once; one that is still there after this was left by a crash.
constexpr Duration kFreshLeft = std::chrono::hours(1);
constexpr std::string_view kFreshPrefix = ".new-";
/// Ten years: file systems know no later times for long.
constexpr Duration kLongestLife = std::chrono::hours(10 * 365 * 24);

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

/// Time since the epoch by the clock of the file system.
Duration ModifiedAt(const struct stat& info) {
  return std::chrono::seconds(info.st_mtim.tv_sec) + std::chrono::nanoseconds(info.st_mtim.tv_nsec);
}

/// The files. Its calls are short and block. Who changes a key holds the lock, so that a key that has expired is never
/// taken away when another process has just set it anew.
class Directory {
 public:
  Directory(std::string path, Executor& executor) : path_(std::move(path)), executor_(executor) {}

  /// Learns the file system's clock, and removes what has expired, unless another process is at it.
  arrow::Status Open() {
    ARROW_ASSIGN_OR_RAISE(const std::string fresh, WriteFresh("", std::chrono::milliseconds(1)));
    ::unlink(fresh.c_str());
    ARROW_ASSIGN_OR_RAISE(const auto lock, Lock(/*wait=*/false));
    if (lock == nullptr) {
      return arrow::Status::OK();
    }
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path_, error)) {
      const std::string name = entry.path().filename();
      struct stat info{};
      const bool ours = name.starts_with('k') || name.starts_with('h') || name.starts_with(kFreshPrefix);
      if (ours && ::stat(entry.path().c_str(), &info) == 0 &&
          HasExpired(info, name.starts_with(kFreshPrefix) ? kFreshLeft : Duration::zero())) {
        ::unlink(entry.path().c_str());
      }
    }
    return error ? arrow::Status::IOError("cannot list ", path_, ": ", error.message(), "; check CYLON_STORE")
                 : arrow::Status::OK();
  }

  arrow::Status Set(const std::string& key, const std::string& value, Duration time_to_live) {
    ARROW_RETURN_NOT_OK(Check(key, value, time_to_live));
    ARROW_ASSIGN_OR_RAISE(const auto lock, Lock());
    return Replace(key, value, time_to_live);
  }

  arrow::Result<std::string> SetIfAbsent(const std::string& key, const std::string& value, Duration time_to_live) {
    ARROW_RETURN_NOT_OK(Check(key, value, time_to_live));
    ARROW_ASSIGN_OR_RAISE(const auto lock, Lock());
    auto there = TryGet(key);
    if (there.status().IsKeyError()) {
      ARROW_RETURN_NOT_OK(Replace(key, value, time_to_live));
      return value;
    }
    return there;
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
    if (HasExpired(info, Duration::zero())) {
      return NoSuchKey(key);
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

  arrow::Result<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) {
    ARROW_RETURN_NOT_OK(Check(key, "", time_to_live));
    ARROW_ASSIGN_OR_RAISE(const auto lock, Lock());
    int64_t value = 0;
    auto text = TryGet(key);
    if (text.ok()) {
      ARROW_ASSIGN_OR_RAISE(value, ParseCounter(key, *text));
    } else if (!text.status().IsKeyError()) {
      return text.status();
    }
    ARROW_ASSIGN_OR_RAISE(const int64_t sum, AddToCounter(key, value, amount));
    ARROW_RETURN_NOT_OK(Replace(key, std::to_string(sum), time_to_live));
    return sum;
  }

  arrow::Status Delete(const std::string& key) const {
    ARROW_RETURN_NOT_OK(CheckKeyAndValue(key));
    if (::unlink(Path(key).c_str()) != 0 && errno != ENOENT) {
      return Failed("delete", Path(key));
    }
    return arrow::Status::OK();
  }

 private:
  static arrow::Status Check(const std::string& key, const std::string& value, Duration time_to_live) {
    ARROW_RETURN_NOT_OK(CheckKeyAndValue(key, value));
    return CheckTimeToLive(key, time_to_live);
  }

  std::string Path(const std::string& key) const { return path_ + "/" + FileName(key); }

  bool HasExpired(const struct stat& info, Duration grace) const {
    return ModifiedAt(info) + grace <= executor_.Now().time_since_epoch() + clock_offset_;
  }

  /// The lock of the directory, held until it is let go; nullptr where another has it and `wait` is false.
  arrow::Result<std::unique_ptr<Descriptor>> Lock(bool wait = true) const {
    const std::string lock_path = path_ + "/.lock";
    auto lock = std::make_unique<Descriptor>(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock->get() < 0) {
      return Failed("open", lock_path);
    }
    const auto give_up = executor_.Now() + kLockPatience;
    while (::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return Failed("lock", lock_path);
      }
      if (!wait) {
        return nullptr;
      }
      if (executor_.Now() >= give_up) {
        return arrow::Status::IOError("another process has held ", lock_path, " for ",
                                      std::chrono::seconds(kLockPatience).count(),
                                      " s; end the one that is stopped (fuser shows which), or use another directory");
      }
      std::this_thread::sleep_for(kLockPause);
    }
    return lock;
  }

  arrow::Status Replace(const std::string& key, const std::string& value, Duration time_to_live) {
    ARROW_ASSIGN_OR_RAISE(const std::string fresh, WriteFresh(value, time_to_live));
    if (::rename(fresh.c_str(), Path(key).c_str()) != 0) {
      auto status = Failed("replace", Path(key));
      ::unlink(fresh.c_str());
      return status;
    }
    return arrow::Status::OK();
  }

  /// Writes a file of a name of its own, and sets when it expires.
  arrow::Result<std::string> WriteFresh(const std::string& value, Duration time_to_live) {
    ARROW_ASSIGN_OR_RAISE(const std::string random, RandomBytes(16));
    std::string path = path_ + "/" + std::string(kFreshPrefix) + HexEncode(random);
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (file.get() < 0) {
      return Failed("make", path);
    }
    const auto give_up = [&path] {
      auto status = Failed("write", path);
      ::unlink(path.c_str());
      return status;
    };
    for (size_t at = 0; at < value.size();) {
      const ssize_t wrote = ::write(file.get(), value.data() + at, value.size() - at);
      if (wrote < 0 && errno != EINTR) {
        return give_up();
      }
      at += wrote > 0 ? static_cast<size_t>(wrote) : 0;
    }
    struct stat info{};
    if (::fstat(file.get(), &info) != 0) {
      return give_up();
    }
    // File systems stamp with a clock that ticks some milliseconds apart: the stamp that lags least is the best.
    clock_offset_ = std::max(clock_offset_, ModifiedAt(info) - executor_.Now().time_since_epoch());
    const Duration expires = ModifiedAt(info) + std::min(time_to_live, kLongestLife);
    const auto seconds = std::chrono::floor<std::chrono::seconds>(expires);
    const timespec when{seconds.count(), (expires - seconds).count()};
    const std::array<timespec, 2> times{when, when};
    if (::futimens(file.get(), times.data()) != 0) {
      return give_up();
    }
    return path;
  }

  std::string path_;
  Executor& executor_;
  Duration clock_offset_ = Duration::min();  // from the executor's clock to the file system's
};

class DirectoryStore : public Store {
 public:
  DirectoryStore(Directory files, Executor& executor)
      : executor_(executor), state_(std::make_shared<State>(std::move(files), executor)) {}

  ~DirectoryStore() override {
    RunNow(executor_, [state = state_] {
      state->closed = true;
      for (const auto& wait : std::exchange(state->waits, {})) {
        wait->Finish(StoreClosed());
      }
    });
  }

  arrow::Future<> Set(const std::string& key, const std::string& value, Duration time_to_live) override {
    return Later<arrow::Future<>>(
        [key, value, time_to_live](Directory& files) { return files.Set(key, value, time_to_live); });
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value,
                                         Duration time_to_live) override {
    return Later<arrow::Future<std::string>>(
        [key, value, time_to_live](Directory& files) { return files.SetIfAbsent(key, value, time_to_live); });
  }
  arrow::Future<std::string> TryGet(const std::string& key) override {
    return Later<arrow::Future<std::string>>([key](const Directory& files) { return files.TryGet(key); });
  }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) override {
    return Later<arrow::Future<int64_t>>(
        [key, amount, time_to_live](Directory& files) { return files.Add(key, amount, time_to_live); });
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
    State(Directory in, Executor& on) : files(std::move(in)), executor(on) {}
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
  Directory files(directory, executor);
  ARROW_RETURN_NOT_OK(files.Open());
  return std::make_unique<DirectoryStore>(std::move(files), executor);
}

}  // namespace cylon
