// Files that a user's paths mean: files, folders, globs.
#include <glob.h>

#include <algorithm>
#include <filesystem>

#include "cylon/io/read.h"

namespace cylon {

namespace {

namespace fs = std::filesystem;

arrow::Status AddFolder(const fs::path& folder, std::string_view extension, std::vector<std::string>* files) {
  std::error_code error;
  std::vector<std::string> found;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    // Names that begin with a dot or an underscore are other programs' temporary and marker files.
    std::error_code unreadable;
    if (name.front() != '.' && name.front() != '_' && entry->path().extension() == extension &&
        !entry->is_directory(unreadable)) {
      found.push_back(entry->path());
    }
  }
  if (error) {
    return arrow::Status::IOError("cannot list folder ", folder.string(), ": ", error.message(),
                                  "; check its permissions on this host");
  }
  if (found.empty()) {
    return arrow::Status::Invalid("folder ", folder.string(), " has no *", extension,
                                  " files; name the files, or a glob such as ", (folder / "*").string());
  }
  std::ranges::sort(found);
  files->insert(files->end(), found.begin(), found.end());
  return arrow::Status::OK();
}

arrow::Result<std::vector<std::string>> Glob(const std::string& pattern) {
  glob_t matches{};
  const int rc = ::glob(pattern.c_str(), GLOB_ERR, nullptr, &matches);
  std::vector<std::string> found;
  if (rc == 0) {
    found.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  }
  ::globfree(&matches);
  if (rc == GLOB_NOMATCH) {
    return arrow::Status::Invalid("no file matches ", pattern, "; check the pattern and the folder it starts from");
  }
  if (rc != 0) {
    return arrow::Status::IOError("cannot list the files that match ", pattern,
                                  "; check the permissions of its folders on this host");
  }
  // glob sorts by the locale; every rank has to see one order.
  std::ranges::sort(found);
  return found;
}

bool IsRemote(const std::string& path) {
  const auto colon = path.find("://");
  return colon != std::string::npos && colon > 0 && path.find('/') == colon + 1;
}

}  // namespace

arrow::Result<std::vector<std::string>> ExpandPaths(const std::vector<std::string>& paths, std::string_view extension) {
  if (paths.empty()) {
    return arrow::Status::Invalid("the list of paths is empty; expected at least one file, folder or glob");
  }
  std::vector<std::string> files;
  for (std::string path : paths) {
    constexpr std::string_view kFile = "file://";
    if (path.starts_with(kFile)) {
      path.erase(0, kFile.size());
    } else if (IsRemote(path)) {
      return arrow::Status::NotImplemented("'", path,
                                           "' is not a local path, and only local files can be used; copy the ",
                                           "data to a folder that every rank sees");
    }
    if (path.empty()) {
      return arrow::Status::Invalid("one of the paths is empty; expected a file, folder or glob");
    }
    std::error_code error;
    const auto status = fs::status(path, error);
    if (fs::is_directory(status)) {
      ARROW_RETURN_NOT_OK(AddFolder(path, extension, &files));
    } else if (fs::exists(status)) {
      files.push_back(path);
    } else if (path.find_first_of("*?[") != std::string::npos) {
      ARROW_ASSIGN_OR_RAISE(auto found, Glob(path));
      for (const auto& match : found) {
        if (fs::is_directory(match, error)) {
          ARROW_RETURN_NOT_OK(AddFolder(match, extension, &files));
        } else {
          files.push_back(match);
        }
      }
    } else {
      return arrow::Status::IOError("'", path, "' does not exist", error ? " (" + error.message() + ")" : std::string(),
                                    "; expected a file, folder or glob that this rank's host sees; check the path and ",
                                    "the working directory");
    }
  }
  return files;
}

}  // namespace cylon
