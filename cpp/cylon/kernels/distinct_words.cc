// Which of many words stand for themselves.
#include "cylon/kernels/distinct_words.h"

#include <algorithm>
#include <bit>

#include "cylon/kernels/hash_columns.h"

namespace cylon {

namespace {

/// Slots per distinct word, at least: with fewer, so many are taken by another word that the processor guesses wrong.
constexpr uint64_t kSlotsPerWord = 2;

/// Words that are added between two looks at whether there is room.
constexpr int64_t kBlockWords = 1024;

/// Slots to begin with, at most: half a MiB. Where one word comes a million times, its partition needs no more.
constexpr uint64_t kFirstSlots = 1 << 16;

}  // namespace

inline uint64_t DistinctWords::SlotOf(uint64_t hash) const {
  uint64_t slot = (hash >> bits_) & mask_;
  while (InOr(slots_[slot], hash) != hash) [[unlikely]] {
    slot = (slot + 1) & mask_;
  }
  return slot;
}

void DistinctWords::Reset(std::span<const WordRun> runs) {
  uint64_t words = 0;
  for (const WordRun& run : runs) {
    if (words == 0 && run.count > 0) {
      // Its low bits are none of the partition's.
      empty_ = ~HashOfWord(run.words[0]);
    }
    words += static_cast<uint64_t>(run.count);
  }
  const uint64_t wanted = std::bit_ceil(kSlotsPerWord * std::max<uint64_t>(words, kBlockWords));
  slots_.assign(std::min(wanted, kFirstSlots), empty_);
  mask_ = slots_.size() - 1;
  size_ = 0;
  again_.assign(keep_ == Keep::kNone ? slots_.size() : 0, 0);
}

void DistinctWords::Grow() {
  std::vector<uint64_t> slots(2 * slots_.size(), empty_);
  std::vector<uint8_t> again(2 * again_.size(), 0);
  slots.swap(slots_);
  again.swap(again_);
  mask_ = slots_.size() - 1;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i] != empty_) {
      const uint64_t slot = SlotOf(slots[i]);
      slots_[slot] = slots[i];
      if (!again.empty()) {
        again_[slot] = again[i];
      }
    }
  }
}

// Whether a word is new is anybody's guess, so nothing branches on it; only a slot that another word has is rare.
template <Keep kKeep>
void DistinctWords::Add(const WordRun& run) {
  // The last in the order is the first of the other way round.
  const int64_t step = kKeep == Keep::kLast ? -1 : 1;
  const int64_t begin = kKeep == Keep::kLast ? run.count - 1 : 0;
  for (int64_t done = 0; done < run.count; done += kBlockWords) {
    const int64_t count = std::min(kBlockWords, run.count - done);
    while ((size_ + static_cast<uint64_t>(count)) * kSlotsPerWord > slots_.size()) {
      Grow();
    }
    const uint64_t* words = run.words + begin + step * done;
    uint8_t* kept = run.kept + begin + step * done;
    uint64_t* const slots = slots_.data();
    uint64_t added = 0;
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t hash = HashOfWord(words[step * i]);
      const uint64_t slot = SlotOf(hash);
      const auto is_new = static_cast<uint8_t>(slots[slot] == empty_);
      slots[slot] = hash;
      added += is_new;
      kept[step * i] = is_new;
      if constexpr (kKeep == Keep::kNone) {
        again_[slot] |= static_cast<uint8_t>(is_new ^ 1);
      }
    }
    size_ += added;
  }
}

void DistinctWords::Mark(std::span<const WordRun> runs) {
  Reset(runs);
  switch (keep_) {
    case Keep::kFirst:
      std::for_each(runs.begin(), runs.end(), [&](const WordRun& run) { Add<Keep::kFirst>(run); });
      break;
    case Keep::kLast:
      std::for_each(runs.rbegin(), runs.rend(), [&](const WordRun& run) { Add<Keep::kLast>(run); });
      break;
    case Keep::kNone:
      std::for_each(runs.begin(), runs.end(), [&](const WordRun& run) { Add<Keep::kNone>(run); });
      for (const WordRun& run : runs) {
        for (int64_t i = 0; i < run.count; ++i) {
          run.kept[i] = again_[SlotOf(HashOfWord(run.words[i]))] ^ 1;
        }
      }
      break;
  }
}

}  // namespace cylon
