// Equal keys of two sorted sides.
#include "cylon/kernels/join_merge.h"

#include <algorithm>
#include <utility>

#include "cylon/kernels/sort.h"

namespace cylon {

namespace {

/// A canonical word (KeyColumn::LoadWords) as one that compares unsigned as the value does. NaN has the highest bits of
/// all positive doubles.
uint64_t AscendingWord(KeyKind kind, uint64_t word) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  switch (kind) {
    case KeyKind::kSigned:
      return word ^ kSign;
    case KeyKind::kHalf:
    case KeyKind::kFloat:
    case KeyKind::kDouble:
      return (word & kSign) != 0 ? ~word : word | kSign;
    default:
      return word;
  }
}

struct OneWord {
  const uint64_t* words;
  KeyKind kind;
  uint64_t operator()(int64_t place) const { return AscendingWord(kind, words[place]); }
};

struct TwoWords {
  const uint64_t* first;
  const uint64_t* second;
  KeyKind first_kind;
  KeyKind second_kind;
  std::pair<uint64_t, uint64_t> operator()(int64_t place) const {
    return {AscendingWord(first_kind, first[place]), AscendingWord(second_kind, second[place])};
  }
};

std::vector<SortKey> Ascending(const std::vector<int>& keys) {
  std::vector<SortKey> sort_keys;
  for (const int key : keys) {
    sort_keys.push_back({key, SortOrder::kAscending, NullPlacement::kLast});
  }
  return sort_keys;
}

std::string_view BytesAt(const std::vector<uint8_t>& bytes, const std::vector<int64_t>& offsets, int64_t row) {
  const auto* text = static_cast<const char*>(static_cast<const void*>(bytes.data()));
  return {text + offsets[row], static_cast<size_t>(offsets[row + 1] - offsets[row])};
}

/// Of one key that is a word and never null, which is told without encoding it.
arrow::Result<bool> AreWordsSorted(const Table& table, int key) {
  constexpr int64_t kBlockRows = 4096;
  std::vector<uint64_t> words(kBlockRows);
  uint64_t last = 0;
  for (const auto& chunk : table.chunks()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::Make(table.resources()->memory(), batch->column_data(key),
                                                             batch->column_name(key)));
    for (int64_t offset = 0; offset < batch->num_rows(); offset += kBlockRows) {
      const int64_t rows = std::min(kBlockRows, batch->num_rows() - offset);
      column.Slice(offset, rows).LoadWords(words.data());
      bool sorted = true;
      for (int64_t i = 0; i < rows; ++i) {
        const uint64_t word = AscendingWord(column.kind(), words[i]);
        sorted = sorted & (last <= word);
        last = word;
      }
      if (!sorted) {
        return false;
      }
    }
  }
  return true;
}

/// Whether AreWordsSorted can tell: a plain column of words of which none is null.
arrow::Result<bool> AreWords(const Table& table, const std::vector<int>& keys) {
  const auto& field = *table.schema()->field(keys[0]);
  ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::OfType(field.type(), field.name()));
  bool words = keys.size() == 1 && column.is_word() && arrow::is_primitive(field.type()->id());
  for (size_t i = 0; words && i < table.chunks().size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, table.chunks()[i]->Pin());
    words = batch->column_data(keys[0])->GetNullCount() == 0;
  }
  return words;
}

}  // namespace

arrow::Result<bool> IsSortedByKeys(const Table& table, const std::vector<int>& keys) {
  const auto sort_keys = Ascending(keys);
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets;
  ARROW_ASSIGN_OR_RAISE(const auto none, Table::Empty(table.resources(), table.schema()).ToBatch());
  const auto has_order = EncodeSortKeys(*none, sort_keys, &bytes, &offsets);
  if (has_order.IsNotImplemented()) {
    return false;
  }
  ARROW_RETURN_NOT_OK(has_order);
  ARROW_ASSIGN_OR_RAISE(const bool words, AreWords(table, keys));
  if (words) {
    return AreWordsSorted(table, keys[0]);
  }
  std::string last;
  bool first = true;
  int64_t rows = 64;  // unsorted rows are found out soon
  for (const auto& chunk : table.chunks()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    for (int64_t offset = 0; offset < batch->num_rows();) {
      const auto slice = batch->Slice(offset, std::exchange(rows, int64_t{16} << 10));
      offset += slice->num_rows();
      ARROW_RETURN_NOT_OK(EncodeSortKeys(*slice, sort_keys, &bytes, &offsets));
      for (int64_t row = 0; row < slice->num_rows(); ++row) {
        const auto key = BytesAt(bytes, offsets, row);
        if (!first && key < (row == 0 ? std::string_view(last) : BytesAt(bytes, offsets, row - 1))) {
          return false;
        }
        first = false;
      }
      last = BytesAt(bytes, offsets, slice->num_rows() - 1);
    }
  }
  return true;
}

arrow::Result<KeyOrder> KeyOrder::Make(const RadixPartitions& rows, const std::vector<int>& keys) {
  KeyOrder order;
  if (rows.batches().empty()) {
    return order;
  }
  if (rows.form() != KeyForm::kHash) {
    for (const int key : keys) {
      const auto& field = *rows.batches()[0]->schema()->field(key);
      ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::OfType(field.type(), field.name()));
      order.kinds_.push_back(column.kind());
    }
    return order;
  }
  for (const auto& batch : rows.batches()) {
    order.encoded_.emplace_back();
    ARROW_RETURN_NOT_OK(
        EncodeSortKeys(*batch, Ascending(keys), &order.encoded_.back().bytes, &order.encoded_.back().offsets));
  }
  return order;
}

MergeFinder::MergeFinder() : probe_places_(PairFinder::kMostPairs), build_places_(PairFinder::kMostPairs) {}

arrow::Status MergeFinder::Find(const PartitionKeys& build, const KeyOrder& build_order, const PartitionKeys& probe,
                                const KeyOrder& probe_order, int64_t begin, int64_t end,
                                const PairFinder::Options& options, uint8_t* found, const PairFinder::Sink& sink) {
  const auto one = [](const PartitionKeys& keys, const KeyOrder& order) {
    return OneWord{keys.rows->words() + keys.first, order.kinds_[0]};
  };
  const auto two = [](const PartitionKeys& keys, const KeyOrder& order) {
    return TwoWords{keys.rows->words() + keys.first, keys.rows->second_words() + keys.first, order.kinds_[0],
                    order.kinds_[1]};
  };
  struct Encoded {
    const PartitionKeys& keys;
    const KeyOrder& order;
    std::string_view operator()(int64_t place) const {
      uint32_t batch;
      int64_t row;
      keys.rows->locator().Locate(keys.rows->row_numbers()[keys.first + place], &batch, &row);
      return BytesAt(order.encoded_[batch].bytes, order.encoded_[batch].offsets, row);
    }
  };
  switch (probe.rows->form()) {
    case KeyForm::kWord:
      return Merge(one(build, build_order), build.count, one(probe, probe_order), begin, end, options, found, sink);
    case KeyForm::kTwoWords:
      return Merge(two(build, build_order), build.count, two(probe, probe_order), begin, end, options, found, sink);
    default:
      return Merge(Encoded{build, build_order}, build.count, Encoded{probe, probe_order}, begin, end, options, found,
                   sink);
  }
}

template <typename Keys>
arrow::Status MergeFinder::Merge(const Keys& build, int64_t build_rows, const Keys& probe, int64_t begin, int64_t end,
                                 const PairFinder::Options& options, uint8_t* found, const PairFinder::Sink& sink) {
  if (begin >= end) {
    return arrow::Status::OK();
  }
  // The first build row that is not before the first probe row.
  int64_t from = 0;
  const auto first_key = probe(begin);
  for (int64_t width = build_rows; width > 0;) {
    const int64_t half = width / 2;
    if (build(from + half) < first_key) {
      from += half + 1;
      width -= half + 1;
    } else {
      width = half;
    }
  }
  int64_t pairs = 0;
  const auto hand_on = [&]() -> arrow::Status {
    const auto count = static_cast<size_t>(std::exchange(pairs, 0));
    return count > 0 ? sink(std::span(probe_places_).first(count), std::span(build_places_).first(count))
                     : arrow::Status::OK();
  };
  for (int64_t place = begin; place < end; ++place) {
    if (options.once && found[place] != 0) {
      continue;
    }
    const auto key = probe(place);
    while (from < build_rows && build(from) < key) {
      ++from;
    }
    for (int64_t match = from; match < build_rows && build(match) == key; ++match) {
      if (options.mark) {
        found[place] = 1;
      }
      if (!options.emit) {
        break;
      }
      probe_places_[pairs] = static_cast<uint32_t>(place);
      build_places_[pairs] = static_cast<uint32_t>(match);
      if (++pairs == PairFinder::kMostPairs) {
        ARROW_RETURN_NOT_OK(hand_on());
      }
    }
  }
  return hand_on();
}

}  // namespace cylon
