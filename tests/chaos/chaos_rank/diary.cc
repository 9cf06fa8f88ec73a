// Lines of JSON.
#include "diary.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

namespace cylon::chaos {

namespace {

constexpr std::string_view kWrong = "wrong answer: ";

std::string KindName(const arrow::Status& status) {
  const auto detail = GetErrorDetail(status);
  if (detail == nullptr) {
    return status.CodeAsString();
  }
  switch (detail->kind) {
    case ErrorKind::kRankFailed:
      return "RankFailed";
    case ErrorKind::kCollectiveMismatch:
      return "CollectiveMismatch";
    case ErrorKind::kProtocol:
      return "Protocol";
    case ErrorKind::kDeadline:
      return "Deadline";
    case ErrorKind::kAuthentication:
      return "Authentication";
    case ErrorKind::kOutOfMemory:
      return "OutOfMemory";
    case ErrorKind::kRemote:
      return "Remote";
    case ErrorKind::kLinkLost:
      return "LinkLost";
    case ErrorKind::kIsolated:
      return "Isolated";
    case ErrorKind::kRankTaken:
      return "RankTaken";
  }
  return "kind " + std::to_string(static_cast<int>(detail->kind));
}

void Write(int file, nlohmann::json line) {
  line["at"] = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  (void)!::write(file, text.data(), text.size());
}

}  // namespace

Diary::Diary(const std::string& path) : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}

Diary::~Diary() {
  if (file_ >= 0) {
    ::close(file_);
  }
}

void Diary::Note(const std::string& event, int64_t number) { Write(file_, {{"event", event}, {"number", number}}); }

void Diary::End(const arrow::Status& status) {
  nlohmann::json line{{"event", "end"}, {"outcome", "ok"}};
  if (!status.ok()) {
    const bool wrong = status.message().starts_with(kWrong);
    line["outcome"] = wrong ? "wrong" : "error";
    line["kind"] = KindName(status);
    line["message"] = status.message();
    if (const auto detail = GetErrorDetail(status)) {
      line["rank"] = detail->rank;
      line["other"] = detail->other;
      line["cause"] = detail->cause;
      line["agreed"] = detail->agreed;
      line["operation"] = detail->operation;
    }
  }
  Write(file_, std::move(line));
}

arrow::Status WrongAnswer(const std::string& what) { return arrow::Status::Invalid(kWrong, what); }

}  // namespace cylon::chaos
