// A join in memory, partition by partition.
#include "cylon/kernels/join_partitions.h"

#include <algorithm>
#include <numeric>

#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

/// Rows of a batch of the result, at most: large enough that what is done per batch does not count, small enough that
/// each thread's last one, which is moved to its true size, does not either.
constexpr int64_t kBatchRows = 512 << 10;

/// A partition's probe rows beyond this are cut into several tasks, so that a heavy key keeps all threads busy.
constexpr int64_t kTaskRows = 256 << 10;

/// Each task builds the table anew, so it has to look up a few times as many rows.
constexpr int64_t kProbeRowsPerBuildRow = 4;

/// A build side of so few partitions (as a power of two: of a quarter of a MiB each) is left in one. It outgrows the
/// half of a second-level cache that partitions are made for, but the probe's rows need not be dealt and their text is
/// read in its order: 10 million rows joined with 10,000 took 5 % less. Only where tasks of the probe are enough to
/// keep all threads busy.
constexpr int kFewBits = 2;

}  // namespace

arrow::Status PartitionedJoin::Plan(const Table& left, const Table& right) {
  const JoinType type = options_.type;
  build_left_ = left.num_rows() < right.num_rows();
  const Table& probe = build_left_ ? right : left;
  const Table& build = build_left_ ? left : right;
  const bool keep_left = type == JoinType::kLeft || type == JoinType::kFull;
  const bool keep_right = type == JoinType::kRight || type == JoinType::kFull;
  const bool once = type == JoinType::kSemi || type == JoinType::kAnti;
  emits_pairs_ = !once;
  marks_build_ = (build_left_ ? keep_left : keep_right) || (once && build_left_);
  marks_probe_ = (build_left_ ? keep_right : keep_left) || (once && !build_left_);
  shown_when_found_ = type == JoinType::kSemi ? 1 : 0;

  merges_ = options_.algorithm == JoinAlgorithm::kSort && !options_.left_keys.empty();
  const std::array<KeyLayout::Side, 2> sides = {
      {{.table = &left, .keys = &options_.left_keys}, {.table = &right, .keys = &options_.right_keys}}};
  // What is merged is compared by the order of the values, which packed words do not keep.
  ARROW_ASSIGN_OR_RAISE(layout_, merges_ ? KeyLayout::Plain(sides) : KeyLayout::Packed(*resources_, sides));

  for (int column : options_.left_output) {
    const auto key = std::find(options_.coalesce.begin(), options_.coalesce.end(), static_cast<int>(columns_.size()));
    const bool merged = keep_right && key != options_.coalesce.end();
    columns_.push_back(
        {build_left_ ? kBuild : kProbe, column, merged ? options_.right_keys[key - options_.coalesce.begin()] : -1});
  }
  for (int column : options_.right_output) {
    columns_.push_back({build_left_ ? kProbe : kBuild, column, -1});
  }
  auto read = JoinCondition::Columns(options_.condition, build_left_);
  read.insert(read.end(), columns_.begin(), columns_.end());
  plans_[kProbe] = SidePlan::Of(*probe.schema(), read, kProbe);
  plans_[kBuild] = SidePlan::Of(*build.schema(), read, kBuild);

  const auto rows_of = [&](const Table& table) {
    const int64_t row_bytes = SideBytes(table) / std::max<int64_t>(table.num_rows(), 1);
    return std::max(resources_->memory()->limit() / 4 / std::max<int64_t>(row_bytes, 1), kLeastRows);
  };
  const JoinLimits& limits = options_.limits;
  piece_rows_ = limits.piece_rows > 0 ? limits.piece_rows : rows_of(build);
  wave_rows_ = limits.wave_rows > 0 ? limits.wave_rows : rows_of(probe);
  batch_rows_ = std::min(kBatchRows, MorselRows(*resources_, RowBytes(build) + RowBytes(probe)));
  int64_t carried_bytes = kBytesPerRow;
  for (int column : plans_[kBuild].carried) {
    carried_bytes += build.schema()->field(column)->type()->byte_width();
  }
  bits_ = limits.bits >= 0 ? limits.bits : RadixBits(std::min(build.num_rows(), piece_rows_), carried_bytes);
  const bool keeps_busy = probe.num_rows() >= kTaskRows * resources_->arena().threads();
  const bool small = limits.bits < 0 && bits_ <= kFewBits && keeps_busy;
  bits_ = options_.left_keys.empty() || merges_ || small ? 0 : bits_;
  if (bits_ == 0 && limits.wave_rows == 0) {
    // One partition: what is dealt need not be more at a time than keeps all threads busy, and stays in the cache.
    wave_rows_ = std::min(wave_rows_, kTaskRows * resources_->arena().threads());
  }

  for (int i = 0; i < resources_->arena().threads(); ++i) {
    workers_.push_back(std::make_unique<Worker>(
        resources_->memory(), JoinBatch(resources_, options_.output_schema, columns_, plans_, batch_rows_)));
    if (!options_.condition.empty()) {
      workers_.back()->condition.emplace(resources_, options_.condition, build_left_, *left.schema(), *right.schema(),
                                         plans_);
    }
  }
  return arrow::Status::OK();
}

arrow::Result<PartitionedJoin::Dealt> PartitionedJoin::Deal(JoinSide side, const Table& table) const {
  Dealt dealt;
  ARROW_ASSIGN_OR_RAISE(dealt.side, SideRows::Make(resources_, table, keys(side), layout_, bits_, plans_[side]));
  if (merges_) {
    ARROW_ASSIGN_OR_RAISE(dealt.order, KeyOrder::Make(*dealt.side.rows, keys(side)));
  }
  return dealt;
}

arrow::Status PartitionedJoin::Run(const Table& left, const Table& right) {
  ARROW_RETURN_NOT_OK(Plan(left, right));
  const Table& probe_table = build_left_ ? right : left;
  const Table& build_table = build_left_ ? left : right;
  if (build_table.num_rows() == 0 && !marks_probe_) {
    return arrow::Status::OK();
  }
  std::vector<Piece> pieces;
  for (int64_t offset = 0; offset == 0 || offset < build_table.num_rows(); offset += piece_rows_) {
    ARROW_ASSIGN_OR_RAISE(auto table, build_table.Slice(offset, piece_rows_));
    pieces.push_back({std::move(table), nullptr});
    if (marks_build_) {
      const int64_t rows = pieces.back().table.num_rows();
      ARROW_ASSIGN_OR_RAISE(pieces.back().matched, arrow::AllocateBuffer(rows, resources_->memory()));
      std::fill_n(pieces.back().matched->mutable_data(), rows, 0);
    }
  }
  Dealt build;
  if (pieces.size() == 1) {
    ARROW_ASSIGN_OR_RAISE(build, Deal(kBuild, pieces[0].table));
  }
  for (int64_t offset = 0; offset < probe_table.num_rows(); offset += wave_rows_) {
    ARROW_ASSIGN_OR_RAISE(const auto wave, probe_table.Slice(offset, wave_rows_));
    ARROW_ASSIGN_OR_RAISE(const auto probe, Deal(kProbe, wave));
    std::shared_ptr<arrow::Buffer> found;
    if (marks_probe_) {
      ARROW_ASSIGN_OR_RAISE(found, arrow::AllocateBuffer(wave.num_rows(), resources_->memory()));
      std::fill_n(found->mutable_data(), wave.num_rows(), 0);
    }
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (pieces.size() > 1) {
        build = Dealt();  // before the next takes its place
        ARROW_ASSIGN_OR_RAISE(build, Deal(kBuild, pieces[i].table));
      }
      ARROW_RETURN_NOT_OK(JoinWave(probe, build, &pieces[i], found == nullptr ? nullptr : found->mutable_data(),
                                   i + 1 == pieces.size()));
    }
  }
  for (size_t i = 0; marks_build_ && i < pieces.size(); ++i) {
    if (pieces.size() > 1) {
      build = Dealt();
      ARROW_ASSIGN_OR_RAISE(build, Deal(kBuild, pieces[i].table));
    }
    ARROW_RETURN_NOT_OK(EmitBuildRows(build.side, pieces[i].matched->data()));
  }
  // Batches that nothing forced out before.
  for (auto& worker : workers_) {
    ARROW_RETURN_NOT_OK(worker->batch.Finish(append_));
  }
  return arrow::Status::OK();
}

arrow::Status PartitionedJoin::ForEachTask(int64_t count,
                                           const std::function<arrow::Status(Worker*, int64_t)>& function) {
  std::atomic<int64_t> next{0};
  const auto threads = std::min<int64_t>(count, static_cast<int64_t>(workers_.size()));
  return resources_->arena().ParallelFor(threads, [&](int64_t i) {
    Worker* worker = workers_[i].get();
    for (int64_t task = next.fetch_add(1); task < count; task = next.fetch_add(1)) {
      ARROW_RETURN_NOT_OK(function(worker, task));
    }
    // What is gathered later needs the rows of this wave and piece.
    return worker->batch.gathers() ? worker->batch.Finish(append_) : arrow::Status::OK();
  });
}

arrow::Status PartitionedJoin::JoinWave(const Dealt& probe, const Dealt& build, Piece* piece, uint8_t* found,
                                        bool last_piece) {
  std::vector<Task> tasks;
  const int64_t task_rows = options_.limits.task_rows > 0 ? options_.limits.task_rows : kTaskRows;
  // The last partition has the null keys.
  for (int64_t p = 0; p <= probe.side.rows->count(); ++p) {
    const int64_t rows = probe.side.rows->rows(p);
    const int64_t table_rows = merges_ ? 0 : build.side.rows->rows(p);
    const int64_t most = std::max(task_rows, kProbeRowsPerBuildRow * table_rows);
    for (int64_t begin = 0; begin < rows; begin += most) {
      tasks.push_back({p, begin, std::min(begin + most, rows)});
    }
  }
  // The longest first, so that none is left when the others are done.
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const Task& a, const Task& b) { return a.end - a.begin > b.end - b.begin; });
  return ForEachTask(static_cast<int64_t>(tasks.size()), [&](Worker* worker, int64_t i) {
    return RunTask(worker, tasks[i], probe, build, piece, found, last_piece);
  });
}

arrow::Status PartitionedJoin::FindPairs(Worker* worker, const Task& task, const Dealt& probe, const Dealt& build,
                                         const PairFinder::Options& how, uint8_t* found, const PairFinder::Sink& sink) {
  const auto probe_keys = PartitionKeys::Of(*probe.side.rows, task.partition);
  const auto build_keys = PartitionKeys::Of(*build.side.rows, task.partition);
  // Null keys of one word are all alike: their words are 0, whatever the order of the values.
  if (merges_) {
    return worker->merger.Find(build_keys, build.order, probe_keys, probe.order, task.begin, task.end, how, found,
                               sink);
  }
  ARROW_RETURN_NOT_OK(worker->table.Build(build_keys));
  return worker->finder.Find(worker->table, probe_keys, task.begin, task.end, how, found, sink);
}

arrow::Status PartitionedJoin::RunTask(Worker* worker, const Task& task, const Dealt& probe, const Dealt& build,
                                       Piece* piece, uint8_t* found, bool last_piece) {
  const int64_t probe_first = probe.side.rows->begin(task.partition);
  const int64_t build_first = build.side.rows->begin(task.partition);
  uint8_t* found_here = found == nullptr ? nullptr : found + probe_first;
  const bool nulls = task.partition == probe.side.rows->count();
  if (build.side.rows->rows(task.partition) > 0 && !(nulls && options_.null_keys == NullKeys::kNeverMatch)) {
    // Rows are not known to have a match before the condition is judged.
    const bool conditional = worker->condition.has_value();
    PairFinder::Options how;
    how.compare_keys = !options_.left_keys.empty();
    how.mark = marks_probe_ && !conditional;
    how.once = marks_probe_ && !emits_pairs_;
    how.emit = emits_pairs_ || marks_build_ || conditional;
    uint8_t* matched = marks_build_ ? piece->matched->mutable_data() + build_first : nullptr;
    ARROW_RETURN_NOT_OK(FindPairs(worker, task, probe, build, how, found_here,
                                  [&](std::span<const uint32_t> probe_places, std::span<const uint32_t> build_places) {
                                    const std::array<JoinRows, 2> pairs = {
                                        JoinRows{&probe.side, probe_first, probe_places.data()},
                                        JoinRows{&build.side, build_first, build_places.data()}};
                                    return TakePairs(worker, pairs, static_cast<int64_t>(probe_places.size()),
                                                     conditional && marks_probe_ ? found_here : nullptr, matched);
                                  }));
  }
  return marks_probe_ && last_piece ? EmitProbeRows(worker, task, probe.side, found_here) : arrow::Status::OK();
}

arrow::Status PartitionedJoin::TakePairs(Worker* worker, const std::array<JoinRows, 2>& pairs, int64_t count,
                                         uint8_t* found, uint8_t* matched) {
  std::array<JoinRows, 2> good = pairs;
  if (worker->condition.has_value()) {
    ARROW_RETURN_NOT_OK(worker->condition->Keep(pairs, count, &worker->fulfilled));
    count = static_cast<int64_t>(worker->fulfilled[kProbe].size());
    for (const JoinSide side : {kProbe, kBuild}) {
      good[side].places = worker->fulfilled[side].data();
    }
  }
  for (int64_t i = 0; found != nullptr && i < count; ++i) {
    found[good[kProbe].places[i]] = 1;
  }
  for (int64_t i = 0; matched != nullptr && i < count; ++i) {
    // Looked at first, so that a key that is found often is not written by all threads all the time.
    std::atomic_ref<uint8_t> flag(matched[good[kBuild].places[i]]);
    if (flag.load(std::memory_order_relaxed) == 0) {
      flag.store(1, std::memory_order_relaxed);
    }
  }
  return emits_pairs_ && count > 0 ? worker->batch.Append(good, count, append_) : arrow::Status::OK();
}

arrow::Status PartitionedJoin::EmitProbeRows(Worker* worker, const Task& task, const SideRows& probe,
                                             const uint8_t* found) {
  auto& places = worker->places;
  places.clear();
  for (int64_t place = task.begin; place < task.end; ++place) {
    if (found[place] == shown_when_found_) {
      places.push_back(static_cast<uint32_t>(place));
    }
  }
  return worker->batch.Append({JoinRows{&probe, probe.rows->begin(task.partition), places.data()}, JoinRows{}},
                              static_cast<int64_t>(places.size()), append_);
}

arrow::Status PartitionedJoin::EmitBuildRows(const SideRows& build, const uint8_t* matched) {
  return ForEachTask(build.rows->count() + 1, [&](Worker* worker, int64_t partition) {
    const int64_t first = build.rows->begin(partition);
    auto& places = worker->places;
    places.clear();
    for (int64_t place = 0; place < build.rows->rows(partition); ++place) {
      if (matched[first + place] == shown_when_found_) {
        places.push_back(static_cast<uint32_t>(place));
      }
    }
    return worker->batch.Append({JoinRows{}, JoinRows{&build, first, places.data()}},
                                static_cast<int64_t>(places.size()), append_);
  });
}

}  // namespace cylon
