// ReadParquet: row groups dealt to ranks.
#include <algorithm>

#include "cylon/io/parquet_file.h"
#include "cylon/io/parquet_plan.h"
#include "cylon/io/read.h"
#include "cylon/io/shared_files.h"

namespace cylon {

namespace {

using parquet_io::GroupSize;
using parquet_io::ParquetFile;
using parquet_io::RowGroup;

/// Pages and dictionaries are decoded beside what BytesToRead counts. So many times as much has to fit for groups to be
/// read at once.
constexpr int64_t kDecoding = 3;

std::string Signature(const std::vector<std::string>& paths, const ParquetReadOptions& options) {
  std::string text = "ReadParquet(";
  for (const auto& path : paths) {
    text += "'" + path + "', ";
  }
  text += "columns=";
  for (const auto& name : options.columns) {
    text += "'" + name + "'";
  }
  return text + (options.columns.empty() ? "all)" : ")");
}

/// What the footers say.
struct Footers {
  std::shared_ptr<arrow::Schema> schema;  ///< of the result
  /// Of this rank's share of the files: index, number of groups, rows and bytes (BytesToRead) of each.
  std::vector<int64_t> shape;
};

/// Every rank reads each world-size-th footer and the first file's, so that a thousand files are opened once and not
/// once a rank.
arrow::Result<Footers> ReadFooters(Context& context, const std::vector<io::FileSize>& files,
                                   const ParquetReadOptions& options) {
  const auto resources = context.resources();
  Footers footers;
  ARROW_ASSIGN_OR_RAISE(auto first, ParquetFile::Open(files.front().path, *resources));
  ARROW_ASSIGN_OR_RAISE(footers.schema, parquet_io::PlanSchema(*first->schema(), first->path(), options.columns));
  for (size_t i = static_cast<size_t>(context.rank()); i < files.size();
       i += static_cast<size_t>(context.world_size())) {
    ARROW_ASSIGN_OR_RAISE(auto file, ParquetFile::Open(files[i].path, *resources));
    ARROW_RETURN_NOT_OK(parquet_io::CheckSameColumns(*first->schema(), first->path(), *file->schema(), file->path()));
    footers.shape.push_back(static_cast<int64_t>(i));
    footers.shape.push_back(file->groups());
    for (int group = 0; group < file->groups(); ++group) {
      ARROW_ASSIGN_OR_RAISE(const int64_t bytes, file->BytesToRead(group, *footers.schema));
      footers.shape.push_back(file->group_rows(group));
      footers.shape.push_back(bytes);
    }
  }
  return footers;
}

/// Of each group of each file, out of every rank's `shape`.
arrow::Result<std::vector<std::vector<GroupSize>>> ShareShapes(Context& context, const std::vector<int64_t>& shape,
                                                               size_t files) {
  auto mine = arrow::Buffer::FromVector(shape);
  ARROW_ASSIGN_OR_RAISE(const Buffers all, context.communicator().AllGather(std::move(mine)));
  std::vector<std::vector<GroupSize>> sizes(files);
  for (const auto& buffer : all) {
    const auto* numbers = buffer->data_as<int64_t>();
    const auto* end = numbers + buffer->size() / static_cast<int64_t>(sizeof(int64_t));
    while (numbers < end) {
      auto& groups = sizes[static_cast<size_t>(numbers[0])];
      groups.resize(static_cast<size_t>(numbers[1]));
      numbers += 2;
      for (GroupSize& group : groups) {
        group = {numbers[0], numbers[1]};
        numbers += 2;
      }
    }
  }
  return sizes;
}

arrow::Status ReadGroups(const std::shared_ptr<Resources>& resources, const std::vector<io::FileSize>& files,
                         const std::shared_ptr<arrow::Schema>& schema, const std::vector<RowGroup>& groups,
                         std::vector<std::vector<std::shared_ptr<Chunk>>>* chunks) {
  auto read = [&](int64_t i) -> arrow::Status {
    const RowGroup& group = groups[i];
    ARROW_ASSIGN_OR_RAISE(auto file, ParquetFile::Open(files[group.file].path, *resources));
    if (group.group >= file->groups() || file->group_rows(group.group) != group.size.rows) {
      return arrow::Status::Invalid(file->path(), " is not the same file at every rank: row group ", group.group,
                                    " of ", group.size.rows,
                                    " rows is not here; put the files where all hosts see them");
    }
    return file->ReadGroup(group.group, schema, [&](std::shared_ptr<arrow::RecordBatch> batch) -> arrow::Status {
      if (batch->num_rows() > 0) {
        ARROW_ASSIGN_OR_RAISE(auto chunk, Chunk::Make(resources, std::move(batch), /*owned=*/true));
        (*chunks)[i].push_back(std::move(chunk));
      }
      return arrow::Status::OK();
    });
  };
  int64_t largest = 1;
  for (const RowGroup& group : groups) {
    largest = std::max(largest, group.size.bytes);
  }
  const int64_t together = std::max<int64_t>(1, resources->memory()->limit() / kDecoding / largest);
  for (int64_t begin = 0; begin < std::ssize(groups); begin += together) {
    const int64_t count = std::min(together, std::ssize(groups) - begin);
    ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(count, [&](int64_t i) { return read(begin + i); }));
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Result<Table> ReadParquet(Context& context, const std::vector<std::string>& paths,
                                 const ParquetReadOptions& options, std::source_location location) {
  CallSite site(context.communicator(), location);
  ARROW_ASSIGN_OR_RAISE(const auto files,
                        io::AgreeOnFiles(context, Signature(paths, options), arrow::Status::OK(), paths, ".parquet"));
  const auto footers = ReadFooters(context, files, options);
  Proposal proposal{"ReadParquet, footers", footers.status(), {0}};
  if (footers.ok()) {
    proposal.values = {io::Fingerprint(footers->schema->ToString(/*show_metadata=*/false))};
  }
  ARROW_ASSIGN_OR_RAISE(const Agreement schemas, context.communicator().Agree(std::move(proposal)));
  for (size_t rank = 1; rank < schemas.values.size(); ++rank) {
    if (schemas.values[rank] != schemas.values[0]) {
      return arrow::Status::Invalid("ranks 0 and ", rank, " see other columns in ", files.front().path,
                                    "; expected one file at every rank; put it where all hosts see it");
    }
  }
  ARROW_ASSIGN_OR_RAISE(const auto sizes, ShareShapes(context, footers->shape, files.size()));

  const auto groups = parquet_io::PlanRowGroups(sizes, context.rank(), context.world_size());
  auto fits = parquet_io::CheckGroupsFit(groups, files, context.resources()->memory()->limit());
  ARROW_RETURN_NOT_OK(context.communicator().Agree(Proposal{"ReadParquet, memory", std::move(fits), {}}).status());
  std::vector<std::vector<std::shared_ptr<Chunk>>> chunks(groups.size());
  const auto status = ReadGroups(context.resources(), files, footers->schema, groups, &chunks);
  int64_t read = 0;
  std::vector<std::shared_ptr<Chunk>> in_order;
  for (auto& part : chunks) {
    for (auto& chunk : part) {
      read += chunk->num_rows();
      in_order.push_back(std::move(chunk));
    }
  }
  ARROW_RETURN_NOT_OK(context.communicator().Agree(Proposal{"ReadParquet", status, {read}}).status());
  return Table(context.resources(), footers->schema, std::move(in_order));
}

}  // namespace cylon
