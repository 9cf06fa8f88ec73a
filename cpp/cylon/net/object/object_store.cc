// Calls that block, asked by tasks, and asked again.
#include "cylon/net/object/object_store.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "cylon/base/random.h"
#include "cylon/net/object/object_calls.h"
#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

constexpr Duration kFirstRetry = std::chrono::milliseconds(20);
constexpr Duration kLongestRetry = std::chrono::seconds(1);

arrow::Status StoppedStore() { return arrow::Status::Cancelled("this rank closed its transport"); }

uint32_t AnySeed() {
  const auto random = RandomBytes(sizeof(uint32_t));
  return random.ok() ? ByteReader(*random).Number<uint32_t>() : 1;
}

}  // namespace

std::string_view ObjectContents(std::string_view bytes, int64_t most) {
  ByteReader in(bytes);
  const auto length = in.Number<uint64_t>();
  return length > static_cast<uint64_t>(most) || length > in.rest().size() ? std::string_view()
                                                                           : in.rest().substr(0, length);
}

ObjectStore::ObjectStore(Executor& executor, ObjectPlace place, Width width, Duration patience)
    : executor_(executor),
      place_(std::move(place)),
      patience_(patience),
      chance_(AnySeed()),
      gets_(width.gets),
      puts_(width.puts),
      deletes_(width.deletes) {}

ObjectStore::~ObjectStore() {
  if (!stopped_) {
    Stop();
  }
}

arrow::Future<int> ObjectStore::Put(const std::string& name, std::shared_ptr<const std::string> bytes) {
  return Start<int>(&puts_, "putting '" + name + "'",
                    [place = place_, path = PathOf(name), bytes = std::move(bytes)](int attempt) -> arrow::Result<int> {
                      ARROW_RETURN_NOT_OK(PutObject(*place.file_system, path, *bytes));
                      return attempt;
                    });
}

arrow::Future<std::shared_ptr<arrow::Buffer>> ObjectStore::Get(const std::string& name, int64_t most) {
  return Start<std::shared_ptr<arrow::Buffer>>(
      &gets_, "reading '" + name + "'",
      [place = place_, path = PathOf(name), most](int) { return GetObject(*place.file_system, path, most); });
}

arrow::Future<int> ObjectStore::Delete(const std::string& name) {
  return Start<int>(&deletes_, "deleting '" + name + "'",
                    [place = place_, path = PathOf(name)](int attempt) -> arrow::Result<int> {
                      ARROW_RETURN_NOT_OK(DeleteObject(*place.file_system, path));
                      return attempt;
                    });
}

arrow::Future<std::vector<ObjectStore::Listed>> ObjectStore::List() {
  return Start<std::vector<Listed>>(&deletes_, "listing its objects",
                                    [place = place_](int) -> arrow::Result<std::vector<Listed>> {
                                      arrow::fs::FileSelector selector;
                                      selector.base_dir = place.folder;
                                      selector.allow_not_found = true;
                                      ARROW_ASSIGN_OR_RAISE(const auto found, place.file_system->GetFileInfo(selector));
                                      std::vector<Listed> out;
                                      for (const auto& info : found) {
                                        if (info.IsFile()) {
                                          out.push_back({info.base_name(), info.mtime()});
                                        }
                                      }
                                      return out;
                                    });
}

void ObjectStore::Stop() {
  stopped_ = true;
  for (auto* threads : {&gets_, &puts_, &deletes_}) {
    threads->Clear();
  }
  while (!cancels_.empty()) {
    const auto cancel = std::move(cancels_.extract(cancels_.begin()).mapped());
    cancel();
  }
}

void ObjectStore::PutLast(const std::string& name, const std::string& bytes) {
  puts_.Queue([place = place_, path = PathOf(name), bytes] {
    // Others find this rank's silence where it does not get there.
    std::ignore = PutObject(*place.file_system, path, bytes);
  });
}

arrow::Future<> ObjectStore::Sleep(Duration time) {
  auto slept = arrow::Future<>::Make();
  if (stopped_) {
    slept.MarkFinished();
    return slept;
  }
  const uint64_t id = next_++;
  const auto timer = executor_.PostAt(executor_.Now() + time, [weak = weak_from_this(), id]() mutable {
    const auto self = weak.lock();
    if (const auto found = self ? self->cancels_.extract(id) : decltype(cancels_)::node_type()) {
      found.mapped()();
    }
  });
  cancels_.emplace(id, [slept, timer]() mutable {
    timer->Cancel();
    slept.MarkFinished();
  });
  return slept;
}

Duration ObjectStore::Jittered(Duration nap) {
  // Ranks that a busy store has refused together do not come back together.
  return nap / 2 + Duration(std::uniform_int_distribution<Duration::rep>(0, nap.count() / 2)(chance_));
}

template <typename T>
arrow::Future<T> ObjectStore::RunOn(BlockingThreads* threads, const Call<T>& call, int attempt) {
  auto done = arrow::Future<T>::Make();
  if (stopped_) {
    done.MarkFinished(StoppedStore());
    return done;
  }
  const uint64_t id = next_++;
  cancels_.emplace(id, [done]() mutable { done.MarkFinished(StoppedStore()); });
  threads->Queue([&executor = executor_, weak = weak_from_this(), id, done, call, attempt] {
    auto result = call(attempt);
    executor.Post([weak, id, done, result = std::move(result)]() mutable {
      const auto self = weak.lock();
      if (self && self->cancels_.erase(id) > 0) {
        done.MarkFinished(std::move(result));
      }
    });
  });
  return done;
}

template <typename T>
Co<T> ObjectStore::Persist(std::shared_ptr<ObjectStore> self, BlockingThreads* threads, std::string what,
                           Call<T> call) {
  const TimePoint give_up = self->executor_.Now() + self->patience_;
  Duration nap = kFirstRetry;
  for (int attempt = 1;; ++attempt) {
    auto running = self->RunOn<T>(threads, call, attempt);
    auto result = co_await running;
    const arrow::Status status = result.status();
    if (status.ok() || status.IsKeyError() || status.IsCancelled()) {
      co_return result;
    }
    const std::string advice = AdviceOnLasting(status);
    if (!advice.empty()) {
      co_return arrow::Status::IOError("the object store ", self->name(), " refused ", what, ": ", status.message(),
                                       "; ", advice);
    }
    if (self->executor_.Now() >= give_up) {
      const auto waited = std::chrono::ceil<std::chrono::milliseconds>(self->patience_);
      co_return arrow::Status::IOError("the object store ", self->name(), " did not get done with ", what, " in ",
                                       waited.count(), " ms and ", attempt, " attempts (", status.message(),
                                       "); start the job again once it answers");
    }
    auto sleeping = self->Sleep(self->Jittered(nap));
    std::ignore = co_await sleeping;
    nap = std::min<Duration>(2 * nap, kLongestRetry);
  }
}

template <typename T>
arrow::Future<T> ObjectStore::Start(BlockingThreads* threads, std::string what, Call<T> call) {
  auto done = arrow::Future<T>::Make();
  internal::Drive(Persist<T>(shared_from_this(), threads, std::move(what), std::move(call)), done);
  return done;
}

}  // namespace cylon::internal
