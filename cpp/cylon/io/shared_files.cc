// The files that all ranks are about to read.
#include "cylon/io/shared_files.h"

#include <xxhash.h>

#include <filesystem>

#include "cylon/io/read.h"

namespace cylon::io {

arrow::Result<std::vector<FileSize>> FindFiles(const std::vector<std::string>& paths, std::string_view extension) {
  ARROW_ASSIGN_OR_RAISE(auto names, ExpandPaths(paths, extension));
  std::vector<FileSize> files;
  for (auto& name : names) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(name, error)) {
      return arrow::Status::Invalid("'", name, "' is not a regular file; expected one, since ranks read parts of it; ",
                                    "copy a pipe or device to a file first");
    }
    const auto bytes = std::filesystem::file_size(name, error);
    if (error) {
      return arrow::Status::IOError("cannot see the size of '", name, "': ", error.message(),
                                    "; check its permissions on this host");
    }
    files.push_back({std::move(name), static_cast<int64_t>(bytes)});
  }
  return files;
}

arrow::Result<std::vector<FileSize>> AgreeOnFiles(Context& context, std::string signature, arrow::Status status,
                                                  const std::vector<std::string>& paths, std::string_view extension) {
  auto files = status.ok() ? FindFiles(paths, extension) : arrow::Result<std::vector<FileSize>>(status);
  Proposal proposal{std::move(signature), files.status(), {0, 0, 0}};
  if (files.ok()) {
    std::string list;
    int64_t bytes = 0;
    for (const auto& file : *files) {
      list += file.path + '\0' + std::to_string(file.bytes) + '\0';
      bytes += file.bytes;
    }
    proposal.values = {static_cast<int64_t>(files->size()), bytes, Fingerprint(list)};
  }
  ARROW_ASSIGN_OR_RAISE(const Agreement all, context.communicator().Agree(std::move(proposal)));
  for (size_t rank = 1; rank < all.values.size(); ++rank) {
    const auto& here = all.values[0];
    const auto& there = all.values[rank];
    if (here != there) {
      return arrow::Status::Invalid("ranks see different files: rank 0 has ", here[0], " of ", here[1],
                                    " bytes in all, rank ", rank, " has ", there[0], " of ", there[1],
                                    " bytes; expected the same names and sizes at every rank; put the files where all ",
                                    "hosts see them");
    }
  }
  return files;
}

int64_t Fingerprint(std::string_view text) { return static_cast<int64_t>(XXH3_64bits(text.data(), text.size())); }

}  // namespace cylon::io
