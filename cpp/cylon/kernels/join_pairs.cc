// Equal keys of two sides, within one partition.
#include "cylon/kernels/join_pairs.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cylon/kernels/hash_columns.h"

namespace cylon {

namespace {

/// Keys of one form, by place.
template <KeyForm kForm>
class Keys {
 public:
  explicit Keys(const PartitionKeys& keys)
      : words_(keys.rows->words() + keys.first),
        second_(kForm == KeyForm::kTwoWords ? keys.rows->second_words() + keys.first : nullptr) {}

  uint64_t Hash(int64_t place) const {
    if constexpr (kForm == KeyForm::kWord) {
      return HashOfWord(words_[place]);
    } else if constexpr (kForm == KeyForm::kTwoWords) {
      return HashOfWords(words_[place], second_[place]);
    } else {
      return words_[place];
    }
  }

  bool Equals(int64_t place, const Keys& other, int64_t other_place) const {
    if constexpr (kForm == KeyForm::kTwoWords) {
      return (words_[place] == other.words_[other_place]) & (second_[place] == other.second_[other_place]);
    } else {
      return words_[place] == other.words_[other_place];
    }
  }

 private:
  const uint64_t* words_;
  const uint64_t* second_;
};

template <KeyForm kForm>
void Chain(const Keys<kForm>& keys, int64_t count, int shift, uint64_t mask, uint32_t* heads, uint32_t* next) {
  for (int64_t place = 0; place < count; ++place) {
    uint32_t& head = heads[(keys.Hash(place) >> shift) & mask];
    next[place] = head;
    head = static_cast<uint32_t>(place + 1);
  }
}

arrow::Result<uint32_t*> Room(arrow::MemoryPool* pool, int64_t count, std::shared_ptr<arrow::Buffer>* buffer) {
  const int64_t bytes = count * static_cast<int64_t>(sizeof(uint32_t));
  if (*buffer == nullptr || (*buffer)->size() < bytes) {
    buffer->reset();
    ARROW_ASSIGN_OR_RAISE(*buffer, arrow::AllocateBuffer(bytes, pool));
  }
  return (*buffer)->mutable_data_as<uint32_t>();
}

}  // namespace

arrow::Status JoinTable::Build(const PartitionKeys& keys) {
  keys_ = keys;
  const auto heads = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(keys.count, 1))));
  ARROW_ASSIGN_OR_RAISE(heads_, Room(pool_, heads, &head_buffer_));
  ARROW_ASSIGN_OR_RAISE(next_, Room(pool_, std::max<int64_t>(keys.count, 1), &next_buffer_));
  std::memset(heads_, 0, heads * sizeof(uint32_t));
  mask_ = static_cast<uint64_t>(heads - 1);
  shift_ = keys.rows->bits();
  switch (keys.rows->form()) {
    case KeyForm::kWord:
      Chain(Keys<KeyForm::kWord>(keys), keys.count, shift_, mask_, heads_, next_);
      break;
    case KeyForm::kTwoWords:
      Chain(Keys<KeyForm::kTwoWords>(keys), keys.count, shift_, mask_, heads_, next_);
      break;
    case KeyForm::kHash:
      Chain(Keys<KeyForm::kHash>(keys), keys.count, shift_, mask_, heads_, next_);
  }
  return arrow::Status::OK();
}

PairFinder::PairFinder()
    : active_rows_(kBlock), active_links_(kBlock), probe_places_(kMostPairs), build_places_(kMostPairs) {}

arrow::Status PairFinder::Find(const JoinTable& table, const PartitionKeys& probe, int64_t begin, int64_t end,
                               const Options& options, uint8_t* found, const Sink& sink) {
  switch (probe.rows->form()) {
    case KeyForm::kWord:
      return FindByForm<KeyForm::kWord>(table, probe, begin, end, options, found, sink);
    case KeyForm::kTwoWords:
      return FindByForm<KeyForm::kTwoWords>(table, probe, begin, end, options, found, sink);
    default:
      return FindByForm<KeyForm::kHash>(table, probe, begin, end, options, found, sink);
  }
}

template <KeyForm kForm>
arrow::Status PairFinder::FindByForm(const JoinTable& table, const PartitionKeys& probe, int64_t begin, int64_t end,
                                     const Options& options, uint8_t* found, const Sink& sink) {
  const Keys<kForm> probe_keys(probe);
  const Keys<kForm> build_keys(table.keys());
  const uint32_t* heads = table.heads();
  const uint32_t* next = table.next();
  const uint64_t mask = table.mask();
  const int shift = table.shift();
  uint32_t* rows = active_rows_.data();
  uint32_t* links = active_links_.data();
  int64_t pairs = 0;
  const auto hand_on = [&]() -> arrow::Status {
    const auto count = static_cast<size_t>(std::exchange(pairs, 0));
    return options.emit && count > 0
               ? sink(std::span(probe_places_).first(count), std::span(build_places_).first(count))
               : arrow::Status::OK();
  };
  for (int64_t block = begin; block < end; block += kBlock) {
    const int64_t count = std::min(kBlock, end - block);
    int64_t active = 0;
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t link = heads[(probe_keys.Hash(block + i) >> shift) & mask];
      rows[active] = static_cast<uint32_t>(block + i);
      links[active] = link;
      active += static_cast<int64_t>(link != 0);
    }
    while (active > 0) {
      if (options.once) {
        int64_t left = 0;
        for (int64_t a = 0; a < active; ++a) {
          rows[left] = rows[a];
          links[left] = links[a];
          left += static_cast<int64_t>(found[rows[a]] == 0);
        }
        active = left;
      }
      if (pairs + active > kMostPairs) {
        ARROW_RETURN_NOT_OK(hand_on());
      }
      const int64_t before = pairs;
      for (int64_t a = 0; a < active; ++a) {
        const uint32_t place = links[a] - 1;
        probe_places_[pairs] = rows[a];
        build_places_[pairs] = place;
        pairs += static_cast<int64_t>(probe_keys.Equals(rows[a], build_keys, place));
      }
      if (kForm == KeyForm::kHash && options.compare_keys) {
        pairs = before + KeepSameKeys(table, probe, before, pairs - before);
      }
      for (int64_t k = before; options.mark && k < pairs; ++k) {
        found[probe_places_[k]] = 1;
      }
      if (!options.emit) {
        pairs = before;
      }
      int64_t left = 0;
      for (int64_t a = 0; a < active; ++a) {
        const uint32_t link = next[links[a] - 1];
        rows[left] = rows[a];
        links[left] = link;
        left += static_cast<int64_t>(link != 0);
      }
      active = left;
    }
  }
  return hand_on();
}

int64_t PairFinder::KeepSameKeys(const JoinTable& table, const PartitionKeys& probe, int64_t from, int64_t count) {
  const RadixPartitions& build = *table.keys().rows;
  int64_t kept = from;
  for (int64_t k = from; k < from + count; ++k) {
    const uint32_t probe_place = probe_places_[k];
    const uint32_t build_place = build_places_[k];
    probe_places_[kept] = probe_place;
    build_places_[kept] = build_place;
    kept += static_cast<int64_t>(probe.rows->SameKey(probe.rows->row_numbers()[probe.first + probe_place], build,
                                                     build.row_numbers()[table.keys().first + build_place]));
  }
  return kept - from;
}

}  // namespace cylon
