/// Objects that tasks put, get and delete, over Arrow's file systems, whose calls block.
#pragma once

#include <arrow/buffer.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/net/object/blocking_threads.h"
#include "cylon/net/object/object_place.h"

namespace cylon::internal {

/// An object is so many bytes of length and then what it holds: where a store is not asked for it, which costs a
/// request, it does not tell how long an object is.
inline constexpr size_t kObjectLengthBytes = 8;
/// What the first bytes of an object hold, of which there are at most `most`; empty where they are none of ours.
std::string_view ObjectContents(std::string_view bytes, int64_t most);

/// Belongs to tasks, and blocks none: calls run on threads of its own. What may pass (a store that is busy, slow or
/// away) is tried again, after 20 ms, then after up to twice as long each, until `patience` has passed; then, or where
/// it will not pass, the error names the store and what was asked of it.
class ObjectStore : public std::enable_shared_from_this<ObjectStore> {
 public:
  /// How many calls may run at once, of each kind.
  struct Width {
    size_t gets;
    size_t puts;
    size_t deletes;
  };
  ObjectStore(Executor& executor, ObjectPlace place, Width width, Duration patience);
  /// Waits for the calls that are running: as long as the file system lets one take.
  ~ObjectStore();
  ObjectStore(const ObjectStore&) = delete;
  ObjectStore& operator=(const ObjectStore&) = delete;

  /// Puts `bytes` there under `name`, whole or not at all. Finishes with how many attempts it took: where it was more
  /// than one, an earlier one may have done it too, so that an object that was deleted since is there again.
  arrow::Future<int> Put(const std::string& name, std::shared_ptr<const std::string> bytes);
  /// What Put has put there, of at most `most` bytes: fewer where it was not Put. KeyError where there is no such
  /// object.
  arrow::Future<std::shared_ptr<arrow::Buffer>> Get(const std::string& name, int64_t most);
  /// Deleting what is not there is fine.
  arrow::Future<int> Delete(const std::string& name);
  struct Listed {
    std::string name;
    arrow::fs::TimePoint written;  ///< by the store's clock
  };
  arrow::Future<std::vector<Listed>> List();

  /// Whatever is under way ends with Cancelled.
  void Stop();
  /// Puts it there, if that can be done at the first attempt, whoever has stopped this.
  void PutLast(const std::string& name, const std::string& bytes);

  const std::string& name() const { return place_.name; }

 private:
  template <typename T>
  using Call = std::function<arrow::Result<T>(int attempt)>;

  template <typename T>
  static Co<T> Persist(std::shared_ptr<ObjectStore> self, BlockingThreads* threads, std::string what, Call<T> call);
  template <typename T>
  arrow::Future<T> Start(BlockingThreads* threads, std::string what, Call<T> call);
  template <typename T>
  arrow::Future<T> RunOn(BlockingThreads* threads, const Call<T>& call, int attempt);
  std::string PathOf(const std::string& name) const { return place_.folder + "/" + name; }
  Duration Jittered(Duration nap);
  /// Finishes after `time`, or when this is stopped.
  arrow::Future<> Sleep(Duration time);

  Executor& executor_;
  const ObjectPlace place_;
  const Duration patience_;
  std::minstd_rand chance_;
  bool stopped_ = false;
  uint64_t next_ = 0;
  std::map<uint64_t, std::function<void()>> cancels_;  // of what is under way
  // Last, so that they end first.
  BlockingThreads gets_;
  BlockingThreads puts_;
  BlockingThreads deletes_;
};

}  // namespace cylon::internal
