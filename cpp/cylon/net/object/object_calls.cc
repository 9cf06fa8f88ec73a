// Single calls on a file system. Those on S3 are told from others by their words alone: Arrow has no codes for them.
#include "cylon/net/object/object_calls.h"

#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <arrow/util/io_util.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "cylon/net/object/object_store.h"

namespace cylon::internal {

namespace {

/// Beside an object that is being written, where others would see half of it: on every file system but S3.
constexpr std::string_view kUnfinished = "!unfinished";

bool Says(const arrow::Status& status, std::string_view what) {
  return status.message().find(what) != std::string::npos;
}

bool IsAbsent(const arrow::Status& status) {
  return arrow::internal::ErrnoFromStatus(status) == ENOENT || Says(status, "AWS Error NO_SUCH_KEY") ||
         Says(status, "AWS Error RESOURCE_NOT_FOUND") || Says(status, "(HTTP status 404)");
}

/// None of ours has no bytes at all; of one that has, S3 gives no part.
bool IsEmpty(const arrow::Status& status) {
  return Says(status, "AWS Error INVALID_RANGE") || Says(status, "(HTTP status 416)");
}

bool IsWholeAtOnce(const arrow::fs::FileSystem& file_system) { return file_system.type_name() == "s3"; }

arrow::Status WriteWhole(arrow::fs::FileSystem& file_system, const std::string& path, const std::string& bytes) {
  ARROW_ASSIGN_OR_RAISE(auto out, file_system.OpenOutputStream(path));
  std::string length(kObjectLengthBytes, '\0');
  for (size_t i = 0; i < kObjectLengthBytes; ++i) {
    length[i] = static_cast<char>(static_cast<uint64_t>(bytes.size()) >> (8 * i));
  }
  ARROW_RETURN_NOT_OK(out->Write(length));
  ARROW_RETURN_NOT_OK(out->Write(bytes));
  return out->Close();
}

}  // namespace

arrow::Status PutObject(arrow::fs::FileSystem& file_system, const std::string& path, const std::string& bytes) {
  if (IsWholeAtOnce(file_system)) {
    return WriteWhole(file_system, path, bytes);
  }
  const std::string unfinished = path + std::string(kUnfinished);
  ARROW_RETURN_NOT_OK(WriteWhole(file_system, unfinished, bytes));
  return file_system.Move(unfinished, path);
}

arrow::Result<std::shared_ptr<arrow::Buffer>> GetObject(arrow::fs::FileSystem& file_system, const std::string& path,
                                                        int64_t most) {
  // That its size is known, if not well, spares S3 a request for it.
  const int64_t room = most + static_cast<int64_t>(kObjectLengthBytes);
  arrow::fs::FileInfo info(path, arrow::fs::FileType::File);
  info.set_size(room);
  auto file = file_system.OpenInputFile(info);
  if (!file.ok()) {
    return IsAbsent(file.status()) ? arrow::Status::KeyError("no object '", path, "'") : file.status();
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(room));
  std::memset(buffer->mutable_data(), 0, kObjectLengthBytes);
  const auto got = (*file)->ReadAt(0, room, buffer->mutable_data());
  if (IsEmpty(got.status())) {
    return arrow::SliceBuffer(buffer, 0, 0);
  }
  if (!got.ok()) {
    return IsAbsent(got.status()) ? arrow::Status::KeyError("no object '", path, "'") : got.status();
  }
  const auto contents = ObjectContents(std::string_view(*buffer).substr(0, static_cast<size_t>(*got)), most);
  return arrow::SliceBuffer(buffer, kObjectLengthBytes, static_cast<int64_t>(contents.size()));
}

arrow::Status DeleteObject(arrow::fs::FileSystem& file_system, const std::string& path) {
  const auto status = file_system.DeleteFile(path);
  return IsAbsent(status) ? arrow::Status::OK() : status;
}

std::string AdviceOnLasting(const arrow::Status& status) {
  if (Says(status, "NO_SUCH_BUCKET")) {
    return "create the bucket, or name in CYLON_OBJECT_STORE one that there is";
  }
  for (const auto* refusal : {"ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH",
                              "INVALID_CLIENT_TOKEN_ID", "UNRECOGNIZED_CLIENT", "MISSING_AUTHENTICATION_TOKEN"}) {
    if (Says(status, refusal)) {
      return "give every rank credentials that may s3:PutObject, s3:GetObject and s3:DeleteObject there, and "
             "s3:ListBucket, without which what is not there looks forbidden";
    }
  }
  switch (arrow::internal::ErrnoFromStatus(status)) {
    case ENOENT:
    case ENOTDIR:
      return "create that folder, where every rank sees it";
    case EACCES:
    case EPERM:
    case EROFS:
      return "let every rank write there";
    case ENAMETOOLONG:
      return "give the job a shorter name";
    default:
      return status.IsIOError() ? "" : "check CYLON_OBJECT_STORE";
  }
}

}  // namespace cylon::internal
