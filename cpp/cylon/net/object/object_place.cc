// Object stores by their URIs.
#include "cylon/net/object/object_place.h"

#include <arrow/filesystem/s3fs.h>
#include <arrow/util/config.h>
#include <dlfcn.h>

#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace cylon {

namespace {

constexpr std::string_view kS3 = "s3://";
constexpr std::string_view kFile = "file:///";

/// Whether and when something is asked again is decided by who asks: Arrow's own way would block its thread.
class NoRetries final : public arrow::fs::S3RetryStrategy {
 public:
  bool ShouldRetry(const AWSErrorDetail& /*error*/, int64_t /*attempted_retries*/) override { return false; }
  int64_t CalculateDelayBeforeNextRetry(const AWSErrorDetail& /*error*/, int64_t /*attempted_retries*/) override {
    return 0;
  }
};

/// Arrow's module for S3: beside its library, as in its wheel, else where the system looks. (By its bare name alone it
/// is not found where something stands between dlopen and the library that calls it, as a sanitizer does.)
std::string S3Module() {
  std::string name = "libarrow_s3.so." + std::string(ARROW_SO_VERSION);
  Dl_info library{};
  if (::dladdr(reinterpret_cast<const void*>(&arrow::fs::LoadFileSystemFactories), &library) != 0 &&
      library.dli_fname != nullptr) {
    const auto beside = std::filesystem::path(library.dli_fname).parent_path() / name;
    std::error_code none;
    if (std::filesystem::exists(beside, none)) {
      return beside.string();
    }
  }
  return name;
}

/// Loads what has S3 in it, once.
arrow::Status LoadS3() {
  static const arrow::Status kLoaded = [] { return arrow::fs::LoadFileSystemFactories(S3Module().c_str()); }();
  return kLoaded;
}

/// S3's own threads have to end before the process does. Made once S3 has been: what is made last goes first.
void EndS3WithProcess() {
  struct Finalizer {
    Finalizer() = default;
    ~Finalizer() { arrow::fs::EnsureFinalized(); }
    Finalizer(const Finalizer&) = delete;
    Finalizer& operator=(const Finalizer&) = delete;
  };
  static const Finalizer kFinalizer;
}

arrow::Status BadUri(const std::string& uri, const std::string& what) {
  return arrow::Status::Invalid("the object store ", ReadableObjectStore(uri), " ", what,
                                "; set CYLON_OBJECT_STORE to s3://bucket/prefix or file:///shared/directory");
}

}  // namespace

std::string ReadableObjectStore(const std::string& uri) {
  std::string out = uri.substr(0, uri.find('?'));
  const size_t colon = out.find("://");
  const size_t at = out.rfind('@');
  if (colon != std::string::npos && at != std::string::npos && at > colon) {
    out.erase(colon + 3, at - colon - 2);
  }
  return out;
}

arrow::Result<ObjectPlace> OpenObjectPlace(const std::string& uri) {
  const bool s3 = uri.starts_with(kS3);
  if (!s3 && !uri.starts_with(kFile)) {
    return BadUri(uri, uri.empty() ? "is not named" : "begins with neither s3:// nor file:///");
  }
  ObjectPlace place;
  place.name = ReadableObjectStore(uri);
  std::string whole = uri;
  arrow::fs::FileSystemFactoryOptions options;
  if (s3) {
    const auto loaded = LoadS3();
    if (!loaded.ok()) {
      return loaded.WithMessage("cannot load what reaches ", place.name, ", Arrow's S3 module: ", loaded.message(),
                                "; install pyarrow from PyPI, or an Arrow that has S3");
    }
    options.emplace_back("retry_strategy", std::shared_ptr<arrow::fs::S3RetryStrategy>(std::make_shared<NoRetries>()));
    // A small object is then one request, and not three.
    whole += (uri.find('?') == std::string::npos ? "?" : "&") + std::string("allow_delayed_open=true");
  }
  auto opened = arrow::fs::FileSystemFromUriAndOptions(whole, options, &place.folder);
  if (!opened.ok()) {
    // Its words may repeat the URI, which may hold a key.
    std::string why = opened.status().message();
    for (size_t at = why.find(whole); at != std::string::npos; at = why.find(whole)) {
      why.replace(at, whole.size(), place.name);
    }
    return BadUri(uri, "cannot be opened: " + why);
  }
  if (s3) {
    EndS3WithProcess();
  }
  place.file_system = *std::move(opened);
  return place;
}

}  // namespace cylon
