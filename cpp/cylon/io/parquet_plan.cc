// Parquet files before their rows: schemas, and which row groups belong to which rank.
#include "cylon/io/parquet_plan.h"

#include <algorithm>

#include "cylon/base/error.h"
#include "cylon/base/readable.h"

namespace cylon::parquet_io {

namespace {

std::string Names(const arrow::Schema& schema) {
  std::string text;
  for (const auto& field : schema.fields()) {
    text += (text.empty() ? "'" : ", '") + field->name() + "'";
  }
  return text.empty() ? "no columns" : text;
}

arrow::Status Differs(const std::string& path, const std::string& what, const std::string& first_path) {
  return arrow::Status::Invalid(path, " ", what, " ", first_path,
                                "; files that are read together need the same columns and types; rewrite one, or read ",
                                "them apart");
}

}  // namespace

std::vector<RowGroup> PlanRowGroups(const std::vector<std::vector<GroupSize>>& sizes_by_file, int rank,
                                    int world_size) {
  int64_t total = 0;
  for (const auto& file : sizes_by_file) {
    for (const GroupSize& size : file) {
      total += size.rows;
    }
  }
  std::vector<RowGroup> mine;
  int64_t before = 0;
  for (size_t i = 0; i < sizes_by_file.size(); ++i) {
    for (size_t group = 0; group < sizes_by_file[i].size(); ++group) {
      const int64_t rows = sizes_by_file[i][group].rows;
      // Doubles are exact enough here: every rank computes the same ones.
      const double middle = static_cast<double>(before) + static_cast<double>(rows) / 2;
      const double share = total == 0 ? 0 : middle / static_cast<double>(total) * world_size;
      if (rows > 0 && std::min(static_cast<int>(share), world_size - 1) == rank) {
        mine.push_back({static_cast<int64_t>(i), static_cast<int>(group), sizes_by_file[i][group]});
      }
      before += rows;
    }
  }
  return mine;
}

arrow::Status CheckGroupsFit(const std::vector<RowGroup>& groups, const std::vector<io::FileSize>& files,
                             int64_t limit) {
  const auto large = std::ranges::find_if(groups, [&](const RowGroup& group) { return group.size.bytes > limit; });
  if (large == groups.end()) {
    return arrow::Status::OK();
  }
  return OutOfMemoryError("row group " + std::to_string(large->group) + " of " + files[large->file].path +
                          " takes at least " + ReadableBytes(large->size.bytes) +
                          " to read, and the rank's memory budget is " + ReadableBytes(limit) +
                          "; raise CYLON_MEMORY, read fewer columns, or write the file with smaller row groups");
}

arrow::Result<std::shared_ptr<arrow::Schema>> PlanSchema(const arrow::Schema& first, const std::string& path,
                                                         const std::vector<std::string>& columns) {
  arrow::FieldVector fields;
  auto plain = [](const std::shared_ptr<arrow::Field>& field) {
    return field->WithMetadata(nullptr)->WithNullable(true);
  };
  if (columns.empty()) {
    std::ranges::transform(first.fields(), std::back_inserter(fields), plain);
  }
  for (const auto& name : columns) {
    const auto found = first.GetAllFieldIndices(name);
    if (found.empty()) {
      return arrow::Status::KeyError("there is no column '", name, "' in ", path, "; it has ", Names(first));
    }
    if (found.size() > 1) {
      return arrow::Status::Invalid(path, " has ", found.size(), " columns named '", name,
                                    "'; expected one; rename them in the file");
    }
    fields.push_back(plain(first.field(found.front())));
  }
  return arrow::schema(std::move(fields));
}

arrow::Status CheckSameColumns(const arrow::Schema& first, const std::string& first_path, const arrow::Schema& schema,
                               const std::string& path) {
  if (first.num_fields() != schema.num_fields()) {
    return Differs(path,
                   "has " + std::to_string(schema.num_fields()) + " columns (" + Names(schema) + "), not the " +
                       std::to_string(first.num_fields()) + " (" + Names(first) + ") of",
                   first_path);
  }
  for (int i = 0; i < first.num_fields(); ++i) {
    const auto& wanted = first.field(i);
    // The same place first: names may be repeated.
    auto field = schema.field(i)->name() == wanted->name() ? schema.field(i) : schema.GetFieldByName(wanted->name());
    if (field == nullptr) {
      return Differs(
          path, "has no column '" + wanted->name() + "' (it has " + Names(schema) + "), not the column of that name of",
          first_path);
    }
    if (!field->type()->Equals(*wanted->type(), /*check_metadata=*/false)) {
      return Differs(path,
                     "has column '" + wanted->name() + "' as " + field->type()->ToString() + ", not as the " +
                         wanted->type()->ToString() + " of",
                     first_path);
    }
  }
  return arrow::Status::OK();
}

}  // namespace cylon::parquet_io
