// What processes tell each other through a server that is not trusted.
#include "cylon/net/punch/letters.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cylon/base/random.h"
#include "cylon/net/punch/candidates.h"
#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

constexpr uint8_t kSymmetricFlag = 1;
constexpr uint8_t kDeclinedFlag = 2;
constexpr uint8_t kFreshFlag = 4;
constexpr auto kLongestLeft = std::chrono::minutes(10);
constexpr size_t kNumberBytes = sizeof(uint64_t);
/// A process whose connection to the server was ended by others connects again at once; a dead one does not.
constexpr Duration kReturnPatience = std::chrono::milliseconds(500);
constexpr Duration kBetweenReturns = std::chrono::milliseconds(50);

}  // namespace

std::string EncodeLetter(const Letter& letter) {
  const auto left = std::clamp<Duration>(letter.left, Duration{}, kLongestLeft);
  ByteWriter out;
  out.Number(static_cast<uint8_t>(letter.kind));
  out.Raw(letter.attempt);
  out.Number(static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(left).count()));
  out.Number(static_cast<uint8_t>((letter.symmetric ? kSymmetricFlag : 0) | (letter.declined ? kDeclinedFlag : 0) |
                                  (letter.fresh ? kFreshFlag : 0)));
  EncodeCandidates(letter.candidates, &out);
  return out.Take();
}

arrow::Result<Letter> DecodeLetter(std::string_view bytes) {
  ByteReader in(bytes);
  Letter letter;
  const auto kind = in.Number<uint8_t>();
  letter.kind = static_cast<LetterKind>(kind);
  letter.attempt = in.Raw(kAttemptBytes);
  const auto left = std::chrono::milliseconds(in.Number<uint32_t>());
  letter.left = left;
  const auto flags = in.Number<uint8_t>();
  letter.symmetric = (flags & kSymmetricFlag) != 0;
  letter.declined = (flags & kDeclinedFlag) != 0;
  letter.fresh = (flags & kFreshFlag) != 0;
  if (!in.ok() || kind < static_cast<uint8_t>(LetterKind::kCall) || kind > static_cast<uint8_t>(LetterKind::kRelay) ||
      left > kLongestLeft || flags > (kSymmetricFlag | kDeclinedFlag | kFreshFlag)) {
    return arrow::Status::Invalid("it is no letter that this version knows; install the same Cylon everywhere");
  }
  ARROW_ASSIGN_OR_RAISE(letter.candidates, DecodeCandidates(&in));
  if (!in.done()) {
    return arrow::Status::Invalid("it goes on after its addresses");
  }
  return letter;
}

bool SeenNumbers::Take(uint64_t number) {
  constexpr uint64_t kRemembered = 64;
  if (number > highest_) {
    const uint64_t step = number - highest_;
    before_ = (step >= kRemembered ? 0 : before_ << step) | 1;
    highest_ = number;
    return true;
  }
  const uint64_t age = highest_ - number;
  if (age >= kRemembered || (before_ >> age & 1) != 0) {
    return false;
  }
  before_ |= uint64_t{1} << age;
  return true;
}

std::shared_ptr<SealedLetters> SealedLetters::Make(std::shared_ptr<Courier> courier, std::string secret,
                                                   std::string job, int users) {
  auto letters = std::make_shared<SealedLetters>(std::move(courier), std::move(secret), std::move(job), users);
  letters->courier_->OnLetter([weak = letters->weak_from_this()](const CourierLetter& sealed) {
    if (auto self = weak.lock()) {
      self->Open(sealed);
    }
  });
  return letters;
}

arrow::Result<Seal> SealedLetters::SealOf(const std::string& from, const std::string& to) const {
  ByteWriter direction;
  direction.Text("cylon: letters of processes that cannot reach each other yet");
  direction.Text(job_);
  direction.Text(from);
  direction.Text(to);
  return Seal::Make(secret_, direction.bytes());
}

arrow::Result<std::string> SealedLetters::Close(const std::string& to, const Letter& letter) {
  auto at = out_.find(to);
  if (at == out_.end()) {
    ARROW_ASSIGN_OR_RAISE(auto seal, SealOf(courier_->name(), to));
    at = out_.emplace(to, Out{std::move(seal)}).first;
  }
  const uint64_t number = at->second.next++;
  const std::string bytes = EncodeLetter(letter);
  const void* data = bytes.data();
  ByteWriter head;
  head.Number(number);
  std::string text = head.Take();
  ARROW_RETURN_NOT_OK(at->second.seal.Close(number, {{static_cast<const uint8_t*>(data), bytes.size()}}, &text));
  return HexEncode(text);
}

arrow::Future<> SealedLetters::Tell(const std::string& to, const Letter& letter) {
  const auto text = Close(to, letter);
  return text.ok() ? courier_->Tell(to, *text) : arrow::Future<>::MakeFinished(text.status());
}

void SealedLetters::Open(const CourierLetter& sealed) {
  const auto text = HexDecode(sealed.text);
  if (!text.ok() || text->size() < kNumberBytes) {
    ++ignored_.strange;
    return;
  }
  ByteReader head(*text);
  const auto number = head.Number<uint64_t>();
  auto at = in_.find(sealed.from);
  std::optional<Seal> fresh;
  if (at == in_.end()) {
    auto made = SealOf(sealed.from, courier_->name());
    if (!made.ok()) {
      ++ignored_.strange;
      return;
    }
    fresh.emplace(std::move(*made));
  }
  const auto opened = (fresh ? *fresh : at->second.seal).Open(number, head.rest());
  const auto letter = opened.ok() ? DecodeLetter(*opened) : arrow::Result<Letter>(opened.status());
  if (!letter.ok()) {
    ++ignored_.strange;
    return;
  }
  if (fresh) {
    at = in_.emplace(sealed.from, In{std::move(*fresh), {}}).first;
  }
  if (!at->second.numbers.Take(number)) {
    ++ignored_.repeated;
    return;
  }
  if (auto reader = readers_[static_cast<size_t>(letter->kind)]) {
    reader(sealed.from, sealed.seen, *letter);
  }
}

Co<void> SealedLetters::Rest(Executor* executor, TimePoint until) {
  if (left()) {
    co_return arrow::Status::OK();
  }
  const auto self = shared_from_this();
  Nap nap;
  resting_.insert(&nap);
  auto napping = nap.Until(*executor, until);
  const arrow::Status status = co_await napping;
  resting_.erase(&nap);
  co_return status;
}

void SealedLetters::Leave() {
  if (--users_ > 0) {
    return;
  }
  const auto self = shared_from_this();
  while (!resting_.empty()) {
    (*resting_.begin())->Wake();  // goes on at once, and is no longer among them then
  }
  auto courier = courier_;
  courier->Close();
}

Co<void> TellWhoMayReturn(std::shared_ptr<SealedLetters> letters, Executor* executor, std::string to, Letter letter,
                          TimePoint until) {
  const TimePoint gone = std::min<TimePoint>(until, executor->Now() + kReturnPatience);
  while (!letters->left()) {
    auto told = letters->Tell(to, letter);
    const arrow::Status status = co_await told;
    if (status.ok() || status.IsCancelled()) {
      co_return status;
    }
    if (!status.IsKeyError()) {
      co_return arrow::Status::IOError("cannot tell ", ShortName(to), " how to reach this process: ", status.message());
    }
    const TimePoint again = executor->Now() + kBetweenReturns;
    if (again >= gone) {
      co_return NobodyListens("nobody of the name " + to + " is at the server any more: " + status.message());
    }
    auto rest = letters->Rest(executor, again);
    CYLON_CO_RETURN_NOT_OK(co_await rest);
  }
  co_return arrow::Status::Cancelled("this rank is closing");
}

}  // namespace cylon::internal
