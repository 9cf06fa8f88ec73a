/// For tests: ranks as threads whose messages go through a folder, or through the bucket that a test was given, and a
/// file system that does as it is told.
#pragma once

#include <arrow/filesystem/localfs.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/random.h"
#include "cylon/net/conformance.h"
#include "cylon/net/object/object_transport.h"

namespace cylon::testing {

/// The same files as another, whose calls a test may fail: `fault` gets "get", "put", "delete" or "list" and the name.
class FaultyStore : public arrow::fs::SubTreeFileSystem {
 public:
  using Fault = std::function<arrow::Status(const std::string& call, const std::string& name)>;
  using arrow::fs::SubTreeFileSystem::SubTreeFileSystem;

  void SetFault(Fault fault) {
    const std::lock_guard<std::mutex> lock(mutex_);
    fault_ = std::move(fault);
  }
  arrow::Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenInputFile(const arrow::fs::FileInfo& info) override {
    ARROW_RETURN_NOT_OK(Ask("get", info.path()));
    return arrow::fs::SubTreeFileSystem::OpenInputFile(info);
  }
  arrow::Result<std::shared_ptr<arrow::io::OutputStream>> OpenOutputStream(
      const std::string& path, const std::shared_ptr<const arrow::KeyValueMetadata>& metadata) override {
    ARROW_RETURN_NOT_OK(Ask("put", path));
    return arrow::fs::SubTreeFileSystem::OpenOutputStream(path, metadata);
  }
  arrow::Status DeleteFile(const std::string& path) override {
    ARROW_RETURN_NOT_OK(Ask("delete", path));
    return arrow::fs::SubTreeFileSystem::DeleteFile(path);
  }
  arrow::Result<std::vector<arrow::fs::FileInfo>> GetFileInfo(const arrow::fs::FileSelector& select) override {
    ARROW_RETURN_NOT_OK(Ask("list", select.base_dir));
    return arrow::fs::SubTreeFileSystem::GetFileInfo(select);
  }
  using arrow::fs::SubTreeFileSystem::GetFileInfo;

  /// What a store that has too much to do answers.
  static arrow::Status SlowDown() {
    return arrow::Status::IOError("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate.");
  }

 private:
  arrow::Status Ask(const std::string& call, const std::string& path) {
    Fault fault;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      fault = fault_;
    }
    return fault ? fault(call, path.substr(path.rfind('/') + 1)) : arrow::Status::OK();
  }

  std::mutex mutex_;
  Fault fault_;
};

/// A rank that closes without a goodbye says so, if it can; so long it takes where it cannot.
inline constexpr auto kObjectPeerTimeout = std::chrono::seconds(5);

class ObjectConformanceWorld : public ThreadedConformanceWorld {
 public:
  explicit ObjectConformanceWorld(int ranks, Duration peer_timeout = kObjectPeerTimeout)
      : ThreadedConformanceWorld(ranks),
        peer_timeout_(peer_timeout),
        folder_(std::filesystem::temp_directory_path() / ("cylon-objects-" + HexEncode(RandomBytes(8).ValueOrDie()))) {
    std::filesystem::create_directories(folder_);
    store = std::make_shared<FaultyStore>(folder_.string(), std::make_shared<arrow::fs::LocalFileSystem>());
    place = {store, "", "file://" + folder_.string()};
    world.job = "conformance";
    world.epoch = "00000001";  // the epoch of TestChannel
    for (Rank rank = 0; rank < ranks; ++rank) {
      world.cards.push_back({"localhost", 0, ObjectCardAddress().ValueOrDie()});
    }
  }
  ~ObjectConformanceWorld() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  ObjectConformanceWorld(const ObjectConformanceWorld&) = delete;
  ObjectConformanceWorld& operator=(const ObjectConformanceWorld&) = delete;

  std::unique_ptr<Transport> MakeTransport(Rank rank) override {
    auto own = world;
    own.rank = rank;
    return MakeObjectTransport(executor(rank), place, std::move(own), secret, peer_timeout_).ValueOrDie();
  }

  const std::filesystem::path& folder() const { return folder_; }
  /// The names of the objects that lie there, but for heartbeats where they are not asked for.
  std::set<std::string> Objects(bool beats = false) const {
    std::set<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename();
      if (beats || !name.ends_with("!alive")) {
        out.insert(name);
      }
    }
    return out;
  }

  std::shared_ptr<FaultyStore> store;
  ObjectPlace place;
  World world;
  std::string secret = "a secret";

 private:
  Duration peer_timeout_;
  std::filesystem::path folder_;
};

/// Fewer messages, and smaller ones: everything is encrypted, and written to files.
inline Subject ObjectSubject() {
  const int64_t large = LongTests() && !kSanitized ? 256 << 20 : 8 << 20;
  return {"object", [](int ranks, uint64_t) { return std::make_unique<ObjectConformanceWorld>(ranks); }, 1, large,
          kSanitized ? 2000 : 20000};
}

/// A bucket of an S3 that somebody has started, as tests/system/test_object.py does: its URI in
/// CYLON_TEST_OBJECT_STORE.
inline std::vector<Subject> BucketSubjects() {
  const char* uri = std::getenv("CYLON_TEST_OBJECT_STORE");
  if (uri == nullptr || std::string(uri).empty()) {
    return {};
  }
  return {{"bucket",
           [uri = std::string(uri)](int ranks, uint64_t) {
             auto world = std::make_unique<ObjectConformanceWorld>(ranks, std::chrono::seconds(20));
             world->place = OpenObjectPlace(uri).ValueOrDie();
             return world;
           },
           1, 8 << 20, 2000}};
}

}  // namespace cylon::testing
