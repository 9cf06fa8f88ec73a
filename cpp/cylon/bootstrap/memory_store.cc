// A store in memory, for ranks that are threads of one process.
#include <mutex>
#include <set>

#include "cylon/bootstrap/key_values.h"
#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

class MemoryStoreData {
 public:
  std::mutex mutex;
  KeyValues values;
};

namespace {

class MemoryStore : public Store {
 public:
  MemoryStore(std::shared_ptr<MemoryStoreData> data, Executor& executor)
      : data_(std::move(data)), executor_(executor), waits_(std::make_shared<Waits>()) {}

  ~MemoryStore() override {
    {
      // From here on nobody posts to the executor on this face's behalf.
      std::lock_guard<std::mutex> lock(data_->mutex);
      for (const auto id : watches_) {
        data_->values.Unwatch(id);
      }
    }
    RunNow(executor_, [waits = waits_] {
      for (const auto& wait : std::exchange(*waits, {})) {
        wait->Finish(StoreClosed());
      }
    });
  }

  arrow::Future<> Set(const std::string& key, const std::string& value, Duration time_to_live) override {
    std::lock_guard<std::mutex> lock(data_->mutex);
    return Later<arrow::Future<>>(data_->values.Set(executor_.Now(), key, value, time_to_live));
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value,
                                         Duration time_to_live) override {
    std::lock_guard<std::mutex> lock(data_->mutex);
    return Later<arrow::Future<std::string>>(data_->values.SetIfAbsent(executor_.Now(), key, value, time_to_live));
  }
  arrow::Future<std::string> TryGet(const std::string& key) override {
    std::lock_guard<std::mutex> lock(data_->mutex);
    return Later<arrow::Future<std::string>>(data_->values.TryGet(executor_.Now(), key));
  }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) override {
    std::lock_guard<std::mutex> lock(data_->mutex);
    return Later<arrow::Future<int64_t>>(data_->values.Add(executor_.Now(), key, amount, time_to_live));
  }
  arrow::Future<> Delete(const std::string& key) override {
    std::lock_guard<std::mutex> lock(data_->mutex);
    data_->values.Delete(key);
    return Later<arrow::Future<>>(arrow::Status::OK());
  }

  arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) override {
    std::lock_guard<std::mutex> lock(data_->mutex);
    auto value = data_->values.TryGet(executor_.Now(), key);
    if (value.ok()) {
      return Later<arrow::Future<std::string>>(std::move(value));
    }
    auto wait = std::make_shared<Wait>();
    // Runs in the task of whoever sets the key, under the lock.
    const auto id = data_->values.Watch(key, [&executor = executor_, wait](const std::string& set) {
      executor.Post([wait, set] { wait->Finish(set); });
    });
    watches_.push_back(id);
    executor_.Post(
        [&executor = executor_, waits = waits_, weak = std::weak_ptr<MemoryStoreData>(data_), wait, key, id, deadline] {
          if (wait->done.is_finished()) {
            return;
          }
          waits->insert(wait);
          wait->done.AddCallback([waits, raw = std::weak_ptr<Wait>(wait)](const auto&) { waits->erase(raw.lock()); });
          if (deadline != kNever) {
            wait->timer = executor.PostAt(deadline, [weak, wait, key, id] {
              if (auto data = weak.lock()) {
                std::lock_guard<std::mutex> inner(data->mutex);
                data->values.Unwatch(id);
              }
              wait->Finish(GetTooLate(key));
            });
          }
        });
    return wait->done;
  }

 private:
  using Waits = std::set<std::shared_ptr<Wait>>;

  template <typename F, typename R>
  F Later(R result) {
    auto done = F::Make();
    executor_.Post([done, result = std::move(result)]() mutable { done.MarkFinished(std::move(result)); });
    return done;
  }

  std::shared_ptr<MemoryStoreData> data_;
  Executor& executor_;
  std::vector<uint64_t> watches_;  // under the data's mutex
  std::shared_ptr<Waits> waits_;   // in tasks
};

}  // namespace

std::shared_ptr<MemoryStoreData> MakeMemoryStoreData() { return std::make_shared<MemoryStoreData>(); }

std::unique_ptr<Store> OpenMemoryStore(std::shared_ptr<MemoryStoreData> data, Executor& executor) {
  return std::make_unique<MemoryStore>(std::move(data), executor);
}

}  // namespace cylon
