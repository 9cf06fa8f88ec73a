// Messages cut into entries for one peer.
#include "cylon/net/mail/outbox.h"

#include <algorithm>
#include <utility>

#include "cylon/net/mail/frame_assembler.h"
#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

constexpr int64_t kLeastWindow = 256 << 10;
/// One is read while the others are on the way; that so many fit, each leaves room for what it counts for beside its
/// bytes.
constexpr int64_t kEntriesInWindow = 4;
constexpr int64_t kEntryRoom = 1024;
/// What is left of a window is used while it is a quarter of an entry, or more: smaller ones cost more than they bring.
constexpr int64_t kLeastOfEntry = 4;
/// Entries of a pair that the third has not confirmed, at most: small messages that are sent meanwhile share one.
constexpr size_t kAskedAtOnce = 4;
/// Parts of one entry, at most: what points to thousands of tiny segments costs more than it saves.
constexpr size_t kMostMailParts = 4096;

std::span<const uint8_t> SpanOf(std::string_view text) {
  const void* bytes = text.data();
  return {static_cast<const uint8_t*>(bytes), text.size()};
}

}  // namespace

MailLimits LimitsOf(int world_size, int64_t most_of_rank, int64_t most_window) {
  const int64_t peers = std::max(1, world_size - 1);
  MailLimits limits{};
  limits.window_bytes = std::clamp(most_of_rank / peers, kLeastWindow, most_window);
  limits.entry_bytes = limits.window_bytes / kEntriesInWindow - kEntryRoom;
  return limits;
}

Outbox::Outbox(Seal seal, MailEnvelope envelope, MailLimits limits, Third third)
    : seal_(std::move(seal)), envelope_(std::move(envelope)), limits_(limits), third_(third) {}

void Outbox::Queue(uint64_t id, Message message) {
  Queued queued;
  queued.id = id;
  queued.prefix = EncodeFramePrefix(message, ++frames_);
  queued.message = std::move(message);
  queue_.push_back(std::move(queued));
}

void Outbox::QueueGoodbye() { has_end_ = !ended_; }

void Outbox::QueueDropped(const std::string& reason) {
  queue_.clear();
  has_end_ = !ended_;
  end_ = MailKind::kDropped;
  reason_ = reason;
}

arrow::Result<Outbox::Entry> Outbox::Next(uint64_t acknowledged) {
  if (asked_ >= kAskedAtOnce) {
    return Entry{};
  }
  const bool fresh = next_ == entries_.size();
  if (fresh) {
    const int64_t room = std::min(limits_.entry_bytes, limits_.window_bytes - under_way_ - kEntryRoom);
    std::vector<std::span<const uint8_t>> parts;
    std::vector<Queued> held;
    std::vector<uint64_t> whole;
    if (ended_) {
      return Entry{};
    }
    if (!queue_.empty() && room >= limits_.entry_bytes / kLeastOfEntry) {
      Gather(static_cast<size_t>(room), &parts, &held, &whole);
      ARROW_RETURN_NOT_OK(Make(MailKind::kData, acknowledged, parts, std::move(whole)));
    } else if (queue_.empty() && has_end_) {
      has_end_ = false;
      ended_ = true;
      parts.push_back(SpanOf(reason_));
      ARROW_RETURN_NOT_OK(Make(end_, acknowledged, parts, {}));
    } else if (owes_acknowledgement_) {
      ARROW_RETURN_NOT_OK(Make(MailKind::kData, acknowledged, {}, {}));
    } else {
      return Entry{};
    }
    owes_acknowledgement_ = false;
  }
  auto& sent = entries_[next_++];
  sent.asked = true;
  ++asked_;
  Entry entry = sent.entry;
  entry.fresh = fresh;
  return entry;
}

void Outbox::Gather(size_t room, std::vector<std::span<const uint8_t>>* parts, std::vector<Queued>* held,
                    std::vector<uint64_t>* whole) {
  while (!queue_.empty() && room > 0 && parts->size() < kMostMailParts) {
    auto& queued = queue_.front();
    const auto& segments = queued.message.segments;
    const auto part = queued.part == 0
                          ? SpanOf(queued.prefix)
                          : std::span<const uint8_t>(segments[queued.part - 1]->data(),
                                                     static_cast<size_t>(segments[queued.part - 1]->size()));
    const auto piece = part.subspan(queued.within, std::min(room, part.size() - queued.within));
    if (!piece.empty()) {
      parts->push_back(piece);
    }
    room -= piece.size();
    queued.within += piece.size();
    if (queued.within < part.size()) {
      break;
    }
    queued.within = 0;
    if (++queued.part > segments.size()) {
      whole->push_back(queued.id);
      held->push_back(std::move(queued));  // its bytes are sealed next
      queue_.pop_front();
    }
  }
}

arrow::Status Outbox::Make(MailKind kind, uint64_t acknowledged, const std::vector<std::span<const uint8_t>>& parts,
                           std::vector<uint64_t> whole) {
  const uint64_t number = ++last_;
  ByteWriter prefix;
  prefix.Number(static_cast<uint8_t>(kind));
  prefix.Number(acknowledged);
  std::vector<std::span<const uint8_t>> all{SpanOf(prefix.bytes())};
  all.insert(all.end(), parts.begin(), parts.end());
  size_t bytes = kSealBytes;
  for (const auto& part : all) {
    bytes += part.size();
  }
  std::string out = envelope_.before(number, bytes);
  out.reserve(out.size() + bytes + envelope_.after.size());
  ARROW_RETURN_NOT_OK(seal_.Close(number, all, &out));
  out.append(envelope_.after);
  Sent sent;
  sent.entry.number = number;
  sent.entry.bytes = std::make_shared<const std::string>(std::move(out));
  sent.cost = parts.empty() ? 0 : CostOf(bytes);
  sent.whole = std::move(whole);
  under_way_ += sent.cost;
  entries_.push_back(std::move(sent));
  return arrow::Status::OK();
}

std::vector<uint64_t> Outbox::Stored(uint64_t number) {
  if (entries_.empty() || number < entries_.front().entry.number || number > last_) {
    return {};  // acknowledged before
  }
  auto& sent = entries_[number - entries_.front().entry.number];
  if (sent.stored || !sent.asked) {
    return {};
  }
  sent.stored = true;
  --asked_;
  if (third_ == Third::kKeeps) {
    sent.entry.bytes = nullptr;
  }
  return std::exchange(sent.whole, {});
}

uint64_t Outbox::stored() const {
  const auto open = std::ranges::find(entries_, false, &Sent::stored);
  return first_unread() - 1 + static_cast<uint64_t>(open - entries_.begin());
}

bool Outbox::Acknowledged(uint64_t number, std::vector<uint64_t>* whole) {
  if (number > last_) {
    return false;
  }
  while (!entries_.empty() && entries_.front().entry.number <= number) {
    auto& sent = entries_.front();
    // The peer may have read it before the server's word of it is here.
    whole->insert(whole->end(), sent.whole.begin(), sent.whole.end());
    if (sent.asked) {
      --next_;
      asked_ -= sent.stored ? 0 : 1;
    }
    under_way_ -= sent.cost;
    entries_.pop_front();
  }
  return true;
}

void Outbox::Rewind() {
  for (auto& sent : entries_) {
    sent.asked = false;
    sent.stored = false;
  }
  next_ = 0;
  asked_ = 0;
}

}  // namespace cylon::internal
