// WriteParquet: one file per rank, under temporary names until every rank has succeeded.
#include <arrow/io/file.h>
#include <arrow/util/compression.h>
#include <fcntl.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>

#include "cylon/base/failpoint.h"
#include "cylon/io/write.h"

namespace cylon {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "part-";
constexpr std::string_view kExtension = ".parquet";

std::string PartName(int rank) {
  std::string number = std::to_string(rank);
  number.insert(0, number.size() < 5 ? 5 - number.size() : 0, '0');
  return std::string(kPrefix) + number + std::string(kExtension);
}

/// Hidden from readers. The same in every run, so that what a killed run left is overwritten by the next.
std::string TemporaryName(int rank) { return "." + PartName(rank) + ".tmp"; }

/// The rank that wrote the part named `name`; nothing for other names.
std::optional<int> PartNumber(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kExtension) || name.size() <= kPrefix.size() + kExtension.size()) {
    return std::nullopt;
  }
  name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kExtension.size());
  int number = 0;
  const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && stop == name.data() + name.size() ? std::optional<int>(number) : std::nullopt;
}

arrow::Status SystemError(const std::string& what, const fs::path& path, int error) {
  return arrow::Status::IOError(what, " ", path.string(), ": ", std::strerror(error),
                                "; check the space and the permissions there, on this rank's host");
}

arrow::Status SyncFolder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int rc = fd < 0 ? -1 : ::fsync(fd);
  const int error = errno;
  if (fd >= 0) {
    ::close(fd);
  }
  // Some network file systems cannot sync a folder, and need not.
  return rc == 0 || error == EINVAL ? arrow::Status::OK() : SystemError("cannot sync folder", folder, error);
}

arrow::Result<arrow::Compression::type> ParseCompression(const std::string& name) {
  if (name == "none") {
    return arrow::Compression::UNCOMPRESSED;
  }
  for (const char* known : {"snappy", "zstd", "lz4", "gzip"}) {
    if (name == known) {
      ARROW_ASSIGN_OR_RAISE(const auto type, arrow::util::Codec::GetCompressionType(name));
      if (arrow::util::Codec::IsAvailable(type)) {
        return type;
      }
    }
  }
  return arrow::Status::Invalid("compression is '", name,
                                "'; expected none, snappy, zstd, lz4 or gzip, built into Arrow");
}

/// A rank's file on its way: removed unless published.
class PartFile {
 public:
  PartFile(const std::string& folder, int rank)
      : temporary_(fs::path(folder) / TemporaryName(rank)), final_(fs::path(folder) / PartName(rank)) {}
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile() {
    if (begun_) {
      ::unlink(temporary_.c_str());
    }
  }

  /// Writes and syncs under the temporary name.
  arrow::Status Write(const Table& table, const ParquetWriteOptions& options, arrow::Compression::type compression);

  arrow::Status Publish() {
    CYLON_FAILPOINT("file.rename");
    if (::rename(temporary_.c_str(), final_.c_str()) != 0) {
      return SystemError("cannot give its name to", final_, errno);
    }
    begun_ = false;
    return SyncFolder(final_.parent_path());
  }

 private:
  arrow::Status WriteTo(const std::shared_ptr<arrow::io::OutputStream>& sink, const Table& table,
                        const ParquetWriteOptions& options, arrow::Compression::type compression);

  fs::path temporary_;
  fs::path final_;
  bool begun_ = false;
};

arrow::Status PartFile::WriteTo(const std::shared_ptr<arrow::io::OutputStream>& sink, const Table& table,
                                const ParquetWriteOptions& options, arrow::Compression::type compression) {
  CYLON_FAILPOINT("file.write");
  arrow::MemoryPool* pool = table.resources()->memory();
  const auto properties = ::parquet::WriterProperties::Builder()
                              .memory_pool(pool)
                              ->compression(compression)
                              ->max_row_group_length(options.row_group_rows)
                              ->enable_page_checksum()
                              ->build();
  // The Arrow schema beside Parquet's own keeps time zones, dictionaries and large types.
  const auto arrow_properties = ::parquet::ArrowWriterProperties::Builder().store_schema()->build();
  ARROW_ASSIGN_OR_RAISE(auto writer,
                        ::parquet::arrow::FileWriter::Open(*table.schema(), pool, sink, properties, arrow_properties));
  ARROW_RETURN_NOT_OK(table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    return batch->num_rows() == 0 ? arrow::Status::OK() : writer->WriteRecordBatch(*batch);
  }));
  ARROW_RETURN_NOT_OK(writer->Close());
  return sink->Flush();
}

arrow::Status PartFile::Write(const Table& table, const ParquetWriteOptions& options,
                              arrow::Compression::type compression) {
  const int fd = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    return SystemError("cannot create", temporary_, errno);
  }
  begun_ = true;
  ARROW_ASSIGN_OR_RAISE(auto sink, arrow::io::FileOutputStream::Open(fd));
  arrow::Status status = WriteTo(sink, table, options, compression);
  if (status.ok() && ::fsync(fd) != 0) {
    status = arrow::Status::IOError(std::strerror(errno));
  }
  status &= sink->Close();
  if (status.IsOutOfMemory()) {  // a group's encoded columns are in memory until it is complete
    return status.WithMessage(status.message(), ", or write smaller row groups (row_group_rows is ",
                              options.row_group_rows, "); nothing was kept of ", final_.string());
  }
  if (!status.ok()) {
    // Arrow keeps the system's reason ("No space left on device") out of the message.
    const std::string reason = status.detail() == nullptr ? "" : ", " + status.detail()->ToString();
    status = status.WithMessage("cannot write ", final_.string(), ": ", status.message(), reason,
                                "; check the space and the permissions there, on this rank's host; nothing was kept");
  }
  return status;
}

arrow::Status Prepare(const std::string& directory, const ParquetWriteOptions& options) {
  if (options.row_group_rows <= 0) {
    return arrow::Status::Invalid("row_group_rows is ", options.row_group_rows, "; expected at least 1");
  }
  std::error_code error;
  fs::create_directories(directory, error);
  if (!fs::is_directory(directory)) {
    return arrow::Status::IOError(
        "'", directory, "' is no folder and cannot be made: ", error ? error.message() : "something else has its name",
        "; name a folder that this rank's host may write");
  }
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (!options.overwrite && !name.starts_with('.') && entry->path().extension() == kExtension) {
      return arrow::Status::Invalid("folder '", directory, "' has Parquet files already (", name,
                                    "), and overwrite is false; name another folder, or pass overwrite=true");
    }
  }
  return error ? SystemError("cannot list folder", directory, error.value()) : arrow::Status::OK();
}

/// Parts of ranks that this world does not have.
arrow::Status RemoveStaleParts(const std::string& directory, int world_size) {
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    const auto number = PartNumber(name);
    if (number.value_or(-1) >= world_size && name == PartName(*number)) {
      stale.push_back(entry->path());
    }
  }
  if (error) {
    return SystemError("cannot list folder", directory, error.value());
  }
  for (const auto& path : stale) {
    fs::remove(path, error);
    if (error) {
      return SystemError("cannot remove the older", path, error.value());
    }
  }
  return stale.empty() ? arrow::Status::OK() : SyncFolder(directory);
}

}  // namespace

arrow::Status WriteParquet(Context& context, const Table& table, const std::string& directory,
                           const ParquetWriteOptions& options, std::source_location location) {
  CallSite site(context.communicator(), location);
  const std::string schema = table.schema()->ToString(/*show_metadata=*/false);
  const std::string signature = "WriteParquet('" + directory + "', compression=" + options.compression +
                                ", row_group_rows=" + std::to_string(options.row_group_rows) +
                                ", overwrite=" + (options.overwrite ? "yes" : "no") + ", schema " + schema + ")";
  Communicator& communicator = context.communicator();
  const auto compression = ParseCompression(options.compression);
  arrow::Status status = compression.ok() ? Prepare(directory, options) : compression.status();
  ARROW_RETURN_NOT_OK(communicator.Agree(Proposal{signature, status, {table.num_rows()}}).status());

  PartFile part(directory, context.rank());
  status = part.Write(table, options, *compression);
  ARROW_RETURN_NOT_OK(communicator.Agree(Proposal{"WriteParquet, written", status, {table.num_rows()}}).status());

  status = part.Publish();
  ARROW_RETURN_NOT_OK(communicator.Agree(Proposal{"WriteParquet, named", status, {table.num_rows()}}).status());

  if (context.rank() == 0) {
    status = RemoveStaleParts(directory, context.world_size());
  }
  return communicator.Agree(Proposal{"WriteParquet", status, {table.num_rows()}}).status();
}

}  // namespace cylon
