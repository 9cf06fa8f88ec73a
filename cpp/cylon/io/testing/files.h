/// For tests: scratch folders, and whole tables out of many ranks.
#pragma once

#include <arrow/api.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/comm/context.h"
#include "cylon/table/table.h"

namespace cylon::testing {

/// A folder of its own, gone at the end.
class ScratchFolder {
 public:
  ScratchFolder() : path_((std::filesystem::temp_directory_path() / "cylon-io-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) {
      ADD_FAILURE() << "cannot make " << path_;
    }
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string Write(std::string_view name, std::string_view text) const {
    std::ofstream out(*this / name, std::ios::binary);
    out << text;
    return *this / name;
  }
  /// Names of what is in it, sorted.
  std::vector<std::string> List() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

 private:
  std::string path_;
};

/// What every rank of a world made of one call.
struct Outcome {
  std::vector<arrow::Status> statuses;
  std::vector<std::shared_ptr<arrow::Table>> parts;  ///< by rank; nullptr where it failed

  /// All rows, in rank order. Every rank has to have succeeded, with one schema.
  std::shared_ptr<arrow::Table> Whole() const {
    for (const auto& status : statuses) {
      EXPECT_TRUE(status.ok()) << status.ToString();
      if (!status.ok()) {
        return arrow::Table::MakeEmpty(arrow::schema({})).ValueOrDie();
      }
    }
    for (const auto& part : parts) {
      EXPECT_TRUE(part->schema()->Equals(*parts[0]->schema()))
          << part->schema()->ToString() << " and " << parts[0]->schema()->ToString();
    }
    return arrow::ConcatenateTables(parts).ValueOrDie()->CombineChunks().ValueOrDie();
  }
};

/// Calls `read` on ranks that are threads.
inline Outcome OnRanks(const ThreadWorld& world, const std::function<arrow::Result<Table>(Context&)>& read) {
  Outcome outcome;
  outcome.parts.resize(static_cast<size_t>(world.ranks));
  outcome.statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto table, read(context));
    ARROW_ASSIGN_OR_RAISE(outcome.parts[static_cast<size_t>(context.rank())], table.ToArrow());
    return arrow::Status::OK();
  });
  return outcome;
}

inline Outcome OnRanks(int ranks, const std::function<arrow::Result<Table>(Context&)>& read) {
  ThreadWorld world;
  world.ranks = ranks;
  return OnRanks(world, read);
}

/// Worlds that every reader and writer is tested in: small and odd ones, simulated and with real threads, on disk only.
inline std::vector<ThreadWorld> Worlds() {
  std::vector<ThreadWorld> worlds;
  for (const int ranks : {1, 2, 3, 7}) {
    ThreadWorld world;
    world.ranks = ranks;
    worlds.push_back(world);
    world.kind = ThreadWorld::Kind::kSim;
    world.seed = static_cast<uint64_t>(ranks);
    world.options.spill_always = true;
    world.options.threads = 1;
    worlds.push_back(world);
  }
  return worlds;
}

}  // namespace cylon::testing
