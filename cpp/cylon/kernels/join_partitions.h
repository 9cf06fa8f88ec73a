/// A join in memory: both sides dealt into partitions by the hash of their keys, and those joined one by one.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cylon/kernels/join.h"
#include "cylon/kernels/join_columns.h"
#include "cylon/kernels/join_condition.h"
#include "cylon/kernels/join_merge.h"
#include "cylon/kernels/join_pairs.h"

namespace cylon {

/// Joins tables of which the smaller side, the one that is built on, fits into memory; beyond that it is taken in
/// pieces (nested loops over blocks), which is what is left where a few keys have nearly all rows. The other side is
/// looked up a wave of rows at a time.
///
///   for each wave of the probe side:       dealt by hash
///     for each piece of the build side:    dealt by hash, once where there is only one
///       partitions, as tasks:              a table over the piece's rows, the wave's rows looked up in it
///   for each piece: rows that nothing matched, or that something did, as the type of join asks
class PartitionedJoin {
 public:
  /// Rows of the result are appended to `output`.
  PartitionedJoin(std::shared_ptr<Resources> resources, const JoinKernelOptions& options, TableBuilder* output)
      : resources_(std::move(resources)), options_(options), output_(output) {
    append_ = [this](std::shared_ptr<arrow::RecordBatch> batch) {
      std::lock_guard<std::mutex> lock(output_mutex_);
      return output_->Append(std::move(batch));
    };
  }

  arrow::Status Run(const Table& left, const Table& right);

  /// Bytes that a side takes in memory while it is joined: what is pinned, what is dealt, and numbers beside each row.
  static int64_t SideBytes(const Table& table) { return 2 * table.num_bytes() + kBytesPerRow * table.num_rows(); }

 private:
  /// Beside the row itself: a word for its key, its number, its partition while it is dealt, a head and a link.
  static constexpr int64_t kBytesPerRow = 24;

  /// One side, dealt. Where sides are sorted and merged: in one partition, and what its keys are compared by.
  struct Dealt {
    SideRows side;
    KeyOrder order;
  };
  struct Piece {
    Table table;
    std::shared_ptr<arrow::Buffer> matched;  // by place, where the join has to know; the same places every time
  };
  /// Rows of one partition to be looked up.
  struct Task {
    int64_t partition;
    int64_t begin;
    int64_t end;
  };
  /// What one thread works with.
  struct Worker {
    Worker(arrow::MemoryPool* pool, JoinBatch result) : table(pool), batch(std::move(result)) {}
    JoinTable table;
    PairFinder finder;
    MergeFinder merger;
    JoinBatch batch;
    std::optional<JoinCondition> condition;
    std::array<std::vector<uint32_t>, 2> fulfilled;
    std::vector<uint32_t> places;
  };

  arrow::Status Plan(const Table& left, const Table& right);
  arrow::Status JoinWave(const Dealt& probe, const Dealt& build, Piece* piece, uint8_t* found, bool last_piece);
  arrow::Status RunTask(Worker* worker, const Task& task, const Dealt& probe, const Dealt& build, Piece* piece,
                        uint8_t* found, bool last_piece);
  arrow::Status FindPairs(Worker* worker, const Task& task, const Dealt& probe, const Dealt& build,
                          const PairFinder::Options& how, uint8_t* found, const PairFinder::Sink& sink);
  /// Notes that the rows of these pairs have a match, and shows the pairs, as the type of join asks.
  arrow::Status TakePairs(Worker* worker, const std::array<JoinRows, 2>& pairs, int64_t count, uint8_t* found,
                          uint8_t* matched);
  arrow::Status EmitProbeRows(Worker* worker, const Task& task, const SideRows& probe, const uint8_t* found);
  arrow::Status EmitBuildRows(const SideRows& build, const uint8_t* matched);
  arrow::Result<Dealt> Deal(JoinSide side, const Table& table) const;
  /// worker(i) by the arena's threads, each taking the next of `count` tasks when it is done with one.
  arrow::Status ForEachTask(int64_t count, const std::function<arrow::Status(Worker*, int64_t)>& function);
  const std::vector<int>& keys(JoinSide side) const {
    return (side == kBuild) == build_left_ ? options_.left_keys : options_.right_keys;
  }

  std::shared_ptr<Resources> resources_;
  const JoinKernelOptions& options_;
  TableBuilder* output_;
  std::mutex output_mutex_;
  JoinBatch::Sink append_;  // to the output

  bool build_left_ = false;
  bool merges_ = false;
  KeyLayout layout_;
  int bits_ = 0;
  std::vector<JoinColumn> columns_;
  std::array<SidePlan, 2> plans_;
  int64_t piece_rows_ = 0;
  int64_t wave_rows_ = 0;
  int64_t batch_rows_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;

  // What the type of join asks for.
  bool emits_pairs_ = false;
  bool marks_probe_ = false;      // whether it has to be known which probe rows have a match,
  bool marks_build_ = false;      // and which build rows
  uint8_t shown_when_found_ = 0;  // of marked rows: which are shown alone, those without a match or those with one
};

}  // namespace cylon
