// One rank's hash join: builds on one side, probes with the other, gathers column by column.
#include "cylon/kernels/join.h"

#include <algorithm>
#include <numeric>

#include "cylon/kernels/join_build.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

constexpr uint32_t kNone = JoinBuild::kNone;

/// More levels than this only happen where a few keys have nearly all rows, which no hash can cut.
constexpr int kDeepestLevel = 4;

/// Beside the row itself: 26 bytes of a slot that is five eighths full, head, tail and next.
constexpr int64_t kBuildBytesPerRow = 40;

class Join {
 public:
  Join(const std::shared_ptr<Resources>& resources, const JoinKernelOptions& options)
      : resources_(resources),
        options_(options),
        build_left_(options.type == JoinType::kRight),
        output_(resources, options.output_schema) {}

  arrow::Result<Table> Run(const Table& left, const Table& right) {
    ARROW_RETURN_NOT_OK(Check(left, right));
    ARROW_RETURN_NOT_OK(JoinTables(left, right, 0));
    return output_.Finish();
  }

 private:
  arrow::Status Check(const Table& left, const Table& right) const;
  arrow::Status JoinTables(const Table& left, const Table& right, int level);
  arrow::Status JoinInMemory(const Table& left, const Table& right);

  /// Rows to give out: `probe` rows of the morsel (kNone: nulls) beside `build` rows.
  struct Pairs {
    std::vector<uint32_t> probe;
    std::vector<uint32_t> build;
    bool probe_nulls = false;
    bool build_nulls = false;
  };
  arrow::Status ProbeMorsel(JoinBuild& build, const KeyEncoder& encoder,
                            const std::shared_ptr<arrow::RecordBatch>& batch, int64_t piece_rows,
                            TableBuilder* out) const;
  /// Gathers and appends; in halves where an array would outgrow its 32-bit offsets.
  arrow::Status Emit(const JoinBuild& build, const RowGatherer& probe, const Pairs& pairs, int64_t begin, int64_t end,
                     TableBuilder* out) const;
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> GatherPairs(const JoinBuild& build, const RowGatherer& probe,
                                                                 const Pairs& pairs, int64_t begin, int64_t end) const;

  /// Columns that are gathered of a side: its output, then its keys (for merged key columns).
  std::vector<int> SideColumns(bool left) const {
    std::vector<int> columns = left ? options_.left_output : options_.right_output;
    const auto& keys = left ? options_.left_keys : options_.right_keys;
    columns.insert(columns.end(), keys.begin(), keys.end());
    return columns;
  }

  std::shared_ptr<Resources> resources_;
  const JoinKernelOptions& options_;
  const bool build_left_;
  TableBuilder output_;
};

arrow::Status Join::Check(const Table& left, const Table& right) const {
  if (options_.left_keys.size() != options_.right_keys.size()) {
    return arrow::Status::Invalid("a join has ", options_.left_keys.size(), " left keys and ",
                                  options_.right_keys.size(), " right keys; give them in pairs");
  }
  const auto in_range = [](const std::vector<int>& columns, const Table& table) {
    return std::all_of(columns.begin(), columns.end(), [&](int c) { return c >= 0 && c < table.num_columns(); });
  };
  if (!in_range(SideColumns(true), left) || !in_range(SideColumns(false), right)) {
    return arrow::Status::IndexError("a join names a column that its tables of ", left.num_columns(), " and ",
                                     right.num_columns(), " columns do not have; columns are numbered from 0");
  }
  for (size_t k = 0; k < options_.left_keys.size(); ++k) {
    const auto& left_field = left.schema()->field(options_.left_keys[k]);
    const auto& right_field = right.schema()->field(options_.right_keys[k]);
    if (!left_field->type()->Equals(right_field->type())) {
      return arrow::Status::TypeError("join key '", left_field->name(), "' is ", left_field->type()->ToString(),
                                      " on the left and '", right_field->name(), "' is ",
                                      right_field->type()->ToString(), " on the right; cast one side");
    }
  }
  if (!options_.right_output.empty() && (options_.type == JoinType::kSemi || options_.type == JoinType::kAnti)) {
    return arrow::Status::Invalid("a semi or anti join was to give ", options_.right_output.size(),
                                  " columns of its right side; it gives columns of the left side only");
  }
  const size_t outputs = options_.left_output.size() + options_.right_output.size();
  if (options_.output_schema == nullptr || options_.output_schema->num_fields() != static_cast<int>(outputs)) {
    return arrow::Status::Invalid("a join gives ", outputs, " columns, but its output schema has ",
                                  options_.output_schema == nullptr ? 0 : options_.output_schema->num_fields(),
                                  "; name each column once");
  }
  return arrow::Status::OK();
}

arrow::Status Join::JoinTables(const Table& left, const Table& right, int level) {
  if (options_.left_keys.empty() || level >= kDeepestLevel) {
    return JoinInMemory(left, right);
  }
  const Table& kept = build_left_ ? left : right;
  const int64_t bytes = kept.num_bytes() + kept.num_rows() * kBuildBytesPerRow;
  if (!TooLargeForMemory(*resources_, bytes) || kept.num_rows() < 256) {
    return JoinInMemory(left, right);
  }
  const uint32_t count = PartitionsFor(*resources_, bytes);
  ARROW_ASSIGN_OR_RAISE(auto left_parts, PartitionTable(resources_, left, options_.left_keys, level + 1, count));
  ARROW_ASSIGN_OR_RAISE(auto right_parts, PartitionTable(resources_, right, options_.right_keys, level + 1, count));
  for (uint32_t k = 0; k < count; ++k) {
    ARROW_RETURN_NOT_OK(JoinTables(left_parts[k], right_parts[k], level + 1));
    left_parts[k] = Table();
    right_parts[k] = Table();
  }
  return arrow::Status::OK();
}

arrow::Status Join::JoinInMemory(const Table& left, const Table& right) {
  const Table& kept = build_left_ ? left : right;
  const Table& probed = build_left_ ? right : left;
  const auto& kept_keys = build_left_ ? options_.left_keys : options_.right_keys;
  const auto& probe_keys = build_left_ ? options_.right_keys : options_.left_keys;
  ARROW_ASSIGN_OR_RAISE(auto build,
                        JoinBuild::Make(resources_, kept, kept_keys, options_.null_keys, SideColumns(build_left_)));
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*probed.schema(), probe_keys));
  const int64_t piece_rows = MorselRows(*resources_, RowBytes(kept) + RowBytes(probed));
  const int64_t morsel_rows = MorselRows(*resources_, RowBytes(probed));
  // Each morsel collects its rows in a table of its own, which may spill while the wave goes on.
  std::vector<std::pair<int64_t, Table>> done;
  std::mutex mutex;
  ARROW_RETURN_NOT_OK(ForEachMorsel(
      *resources_, probed, morsel_rows,
      [&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t index) {
        TableBuilder out(resources_, options_.output_schema);
        ARROW_RETURN_NOT_OK(ProbeMorsel(*build, encoder, batch, piece_rows, &out));
        std::lock_guard<std::mutex> lock(mutex);
        done.emplace_back(index, out.Finish());
        return arrow::Status::OK();
      },
      [&](int64_t index) {
        const auto found =
            std::find_if(done.begin(), done.end(), [&](const auto& entry) { return entry.first == index; });
        for (const auto& chunk : found->second.chunks()) {
          ARROW_RETURN_NOT_OK(output_.Append(chunk));
        }
        done.erase(found);
        return arrow::Status::OK();
      }));
  if (options_.type == JoinType::kFull) {
    Pairs pairs;
    pairs.build = build->UnmatchedRows();
    pairs.probe.assign(pairs.build.size(), kNone);
    pairs.probe_nulls = true;
    std::vector<std::shared_ptr<arrow::Field>> fields;
    for (int column : SideColumns(!build_left_)) {
      fields.push_back(probed.schema()->field(column));
    }
    ARROW_ASSIGN_OR_RAISE(const auto nothing,
                          RowGatherer::Make(resources_->memory(), arrow::schema(std::move(fields)), {}));
    for (int64_t begin = 0; begin < static_cast<int64_t>(pairs.build.size()); begin += piece_rows) {
      const auto end = std::min<int64_t>(begin + piece_rows, static_cast<int64_t>(pairs.build.size()));
      ARROW_RETURN_NOT_OK(Emit(*build, nothing, pairs, begin, end, &output_));
    }
  }
  return arrow::Status::OK();
}

arrow::Status Join::ProbeMorsel(JoinBuild& build, const KeyEncoder& encoder,
                                const std::shared_ptr<arrow::RecordBatch>& batch, int64_t piece_rows,
                                TableBuilder* out) const {
  ARROW_ASSIGN_OR_RAISE(const auto keys, encoder.Encode(resources_->memory(), *batch));
  std::vector<uint32_t> first(batch->num_rows());
  build.FindFirst(keys, options_.type == JoinType::kFull, first.data());
  ARROW_ASSIGN_OR_RAISE(const auto projected, batch->SelectColumns(SideColumns(!build_left_)));
  ARROW_ASSIGN_OR_RAISE(const auto probe, RowGatherer::Make(resources_->memory(), projected->schema(), {projected}));
  const JoinType type = options_.type;
  const bool once = type == JoinType::kSemi || type == JoinType::kAnti;
  const bool keep_unmatched = type == JoinType::kLeft || type == JoinType::kRight || type == JoinType::kFull;
  Pairs pairs;
  pairs.build_nulls = keep_unmatched || once;
  const auto flush = [&]() {
    const auto status = Emit(build, probe, pairs, 0, static_cast<int64_t>(pairs.probe.size()), out);
    pairs.probe.clear();
    pairs.build.clear();
    return status;
  };
  const auto add = [&](int64_t i, uint32_t row) {
    pairs.probe.push_back(static_cast<uint32_t>(i));
    pairs.build.push_back(row);
    return static_cast<int64_t>(pairs.probe.size()) < piece_rows ? arrow::Status::OK() : flush();
  };
  for (int64_t i = 0; i < batch->num_rows(); ++i) {
    uint32_t row = first[i];
    if (once) {
      if ((row != kNone) == (type == JoinType::kSemi)) {
        ARROW_RETURN_NOT_OK(add(i, kNone));
      }
    } else if (row == kNone) {
      if (keep_unmatched) {
        ARROW_RETURN_NOT_OK(add(i, kNone));
      }
    } else {
      for (; row != kNone; row = build.Next(row)) {
        ARROW_RETURN_NOT_OK(add(i, row));
      }
    }
  }
  return flush();
}

arrow::Status Join::Emit(const JoinBuild& build, const RowGatherer& probe, const Pairs& pairs, int64_t begin,
                         int64_t end, TableBuilder* out) const {
  if (begin == end) {
    return arrow::Status::OK();
  }
  auto batch = GatherPairs(build, probe, pairs, begin, end);
  if (batch.status().IsCapacityError() && end - begin > 1) {
    const int64_t middle = begin + (end - begin) / 2;
    ARROW_RETURN_NOT_OK(Emit(build, probe, pairs, begin, middle, out));
    return Emit(build, probe, pairs, middle, end, out);
  }
  ARROW_RETURN_NOT_OK(batch.status());
  return out->Append(*std::move(batch));
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> Join::GatherPairs(const JoinBuild& build, const RowGatherer& probe,
                                                                     const Pairs& pairs, int64_t begin,
                                                                     int64_t end) const {
  const int64_t count = end - begin;
  std::vector<int64_t> probe_rows(count);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t row = pairs.probe[begin + i];
    probe_rows[i] = row == kNone ? -1 : static_cast<int64_t>(row);
  }
  std::vector<int64_t> build_rows;
  std::vector<uint32_t> build_sources;
  if (options_.type != JoinType::kSemi && options_.type != JoinType::kAnti) {
    build.Locate(std::span(pairs.build).subspan(begin, count), &build_rows, &build_sources);
  }
  const RowRefs probe_refs{probe_rows, nullptr, pairs.probe_nulls};
  const RowRefs build_refs{build_rows, build_sources.data(), pairs.build_nulls};
  const auto gather = [&](bool left, int column) {
    return left == build_left_ ? build.gatherer().GatherColumn(column, build_refs)
                               : probe.GatherColumn(column, probe_refs);
  };
  const auto left_count = static_cast<int>(options_.left_output.size());
  const auto right_count = static_cast<int>(options_.right_output.size());
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  const bool merges_keys = options_.type == JoinType::kRight || options_.type == JoinType::kFull;
  for (int position = 0; position < left_count; ++position) {
    const auto key = std::find(options_.coalesce.begin(), options_.coalesce.end(), position);
    if (!merges_keys || key == options_.coalesce.end()) {
      ARROW_ASSIGN_OR_RAISE(auto array, gather(true, position));
      arrays.push_back(std::move(array));
      continue;
    }
    const int right_column = right_count + static_cast<int>(key - options_.coalesce.begin());
    if (options_.type == JoinType::kRight) {
      auto sources = build.gatherer().sources(position);
      const auto from_probe = static_cast<uint32_t>(sources.size());
      sources.push_back(probe.sources(right_column)[0]);
      std::vector<int64_t> rows = build_rows;
      std::vector<uint32_t> which = build_sources;
      for (int64_t i = 0; i < count; ++i) {
        if (rows[i] < 0) {
          rows[i] = probe_rows[i];
          which[i] = from_probe;
        }
      }
      ARROW_ASSIGN_OR_RAISE(auto data, GatherArray(resources_->memory(), sources.back()->type, sources,
                                                   RowRefs{rows, which.data(), false}));
      auto array = arrow::MakeArray(data);
      arrays.push_back(std::move(array));
    } else {
      // The rows of a full join that have no left side come together, at the end.
      ARROW_ASSIGN_OR_RAISE(auto array, gather(!pairs.probe_nulls, pairs.probe_nulls ? right_column : position));
      arrays.push_back(std::move(array));
    }
  }
  for (int position = 0; position < right_count; ++position) {
    ARROW_ASSIGN_OR_RAISE(auto array, gather(false, position));
    arrays.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(options_.output_schema, count, std::move(arrays));
}

}  // namespace

arrow::Result<Table> HashJoin(const std::shared_ptr<Resources>& resources, const Table& left, const Table& right,
                              const JoinKernelOptions& options) {
  return Join(resources, options).Run(left, right);
}

}  // namespace cylon
