// How keys are packed into words: what their values are, and where each part goes.
#include "cylon/kernels/key_layout.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "cylon/kernels/key_bytes.h"
#include "cylon/kernels/row_key.h"

namespace cylon {

namespace {

/// Longer values hardly ever fit two words, and looking at all of their bytes would cost more than hashing them.
constexpr int64_t kMostBytes = 32;

/// Rows that one task looks at.
constexpr int64_t kScanRows = 1 << 17;

/// Words whose order is that of signed numbers.
bool IsSigned(KeyKind kind) { return kind == KeyKind::kSigned || kind == KeyKind::kDecimal; }

bool IsFloat(KeyKind kind) { return kind == KeyKind::kHalf || kind == KeyKind::kFloat || kind == KeyKind::kDouble; }

/// Least and most of `count` words whose highest bit is turned over by `flip`, so that signed ones compare unsigned.
CYLON_CLONES void WordBounds(const uint64_t* words, int64_t count, uint64_t flip, uint64_t* least, uint64_t* most) {
  uint64_t low = *least;
  uint64_t high = *most;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t word = words[i] ^ flip;
    low = word < low ? word : low;
    high = word > high ? word : high;
  }
  *least = low;
  *most = high;
}

/// Least and most of each of the eight bytes of `count` words.
CYLON_CLONES void ByteBounds(const uint64_t* words, int64_t count, uint8_t* least, uint8_t* most) {
  constexpr int64_t kLanes = 4;  // words at a time: what a register holds
  std::array<uint8_t, 8 * kLanes> low;
  std::array<uint8_t, 8 * kLanes> high;
  for (int64_t b = 0; b < 8 * kLanes; ++b) {
    low[b] = least[b % 8];
    high[b] = most[b % 8];
  }
  const auto* bytes = static_cast<const uint8_t*>(static_cast<const void*>(words));
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t b = 0; b < 8 * kLanes; ++b) {
      const uint8_t byte = bytes[i * 8 + b];
      low[b] = byte < low[b] ? byte : low[b];
      high[b] = byte > high[b] ? byte : high[b];
    }
  }
  for (; i < count; ++i) {
    for (int64_t b = 0; b < 8; ++b) {
      low[b] = std::min(low[b], bytes[i * 8 + b]);
      high[b] = std::max(high[b], bytes[i * 8 + b]);
    }
  }
  for (int64_t b = 0; b < 8 * kLanes; ++b) {
    least[b % 8] = std::min(least[b % 8], low[b]);
    most[b % 8] = std::max(most[b % 8], high[b]);
  }
}

/// Adds what `other` has seen.
void Merge(const KeyRange& other, KeyKind kind, KeyRange* into) {
  into->has_null = into->has_null || other.has_null;
  if (!other.has_value) {
    return;
  }
  if (!into->has_value) {
    const bool has_null = into->has_null;
    *into = other;
    into->has_null = has_null;
    return;
  }
  const uint64_t flip = IsSigned(kind) ? uint64_t{1} << 63 : 0;
  into->wide = into->wide || other.wide;
  into->least = std::min(into->least ^ flip, other.least ^ flip) ^ flip;
  into->most = std::max(into->most ^ flip, other.most ^ flip) ^ flip;
  into->least_length = std::min(into->least_length, other.least_length);
  into->most_length = std::max(into->most_length, other.most_length);
  const size_t size = std::max(into->least_bytes.size(), other.least_bytes.size());
  into->least_bytes.resize(size, 0);
  into->most_bytes.resize(size, 0);
  for (size_t b = 0; b < size; ++b) {
    const bool there = b < other.least_bytes.size();
    into->least_bytes[b] = std::min(into->least_bytes[b], there ? other.least_bytes[b] : uint8_t{0});
    into->most_bytes[b] = std::max(into->most_bytes[b], there ? other.most_bytes[b] : uint8_t{0});
  }
}

/// Looks at blocks of columns; one thread's.
class Scanner {
 public:
  explicit Scanner(size_t columns) : ranges_(columns) {}

  const std::vector<KeyRange>& ranges() const { return ranges_; }

  /// False where values are too long to be packed.
  bool Look(const std::vector<KeyColumn>& columns) {
    for (size_t k = 0; k < columns.size(); ++k) {
      for (int64_t offset = 0; offset < columns[k].length(); offset += KeyWords::kBlockRows) {
        const int64_t count = std::min(KeyWords::kBlockRows, columns[k].length() - offset);
        KeyRange range;
        if (columns[k].kind() == KeyKind::kNull) {
          range.has_null = count > 0;
        } else if (columns[k].is_word()) {
          range = LookAtWords(columns[k], offset, count);
        } else {
          range = LookAtBytes(columns[k].Slice(offset, count));
        }
        if (range.most_length > kMostBytes) {
          return false;
        }
        Merge(range, columns[k].kind(), &ranges_[k]);
      }
    }
    return true;
  }

 private:
  KeyRange LookAtWords(const KeyColumn& column, int64_t offset, int64_t count) {
    KeyRange range;
    const uint64_t* words = column.Words(offset, count, &words_);
    if (column.may_have_nulls()) {
      compact_.resize(count);
      int64_t kept = 0;
      for (int64_t i = 0; i < count; ++i) {
        compact_[kept] = words[i];
        kept += column.IsNull(offset + i) ? 0 : 1;
      }
      range.has_null = kept < count;
      words = compact_.data();
      count = kept;
    }
    range.has_value = count > 0;
    if (range.has_value) {
      const uint64_t flip = IsSigned(column.kind()) ? uint64_t{1} << 63 : 0;
      range.least = words[0] ^ flip;
      range.most = range.least;
      WordBounds(words, count, flip, &range.least, &range.most);
      range.least ^= flip;
      range.most ^= flip;
    }
    return range;
  }

  KeyRange LookAtBytes(const KeyColumn& column) {
    KeyRange range;
    const LengthBounds lengths = FindLengthBounds(column);
    range.has_null = lengths.values < column.length();
    range.has_value = lengths.values > 0;
    range.least_length = lengths.least;
    range.most_length = lengths.most;
    if (column.kind() == KeyKind::kDecimal && range.has_value) {
      LookAtDecimals(column, &range);
    }
    if (!range.has_value || range.most_length > kMostBytes) {
      return range;
    }
    words_.resize(column.length());
    for (int64_t byte = 0; byte < range.most_length; byte += 8) {
      int64_t count = column.length();
      if (range.has_null) {
        count = 0;
        column.VisitBytes([&](int64_t, std::string_view bytes) { words_[count++] = EightBytes(bytes, byte); });
      } else {
        ReadEightBytes(column, byte, words_.data());
      }
      range.least_bytes.resize(byte + 8, 0xFF);
      range.most_bytes.resize(byte + 8, 0);
      ByteBounds(words_.data(), count, range.least_bytes.data() + byte, range.most_bytes.data() + byte);
    }
    return range;
  }

  /// Whether each fits a signed word, and the least and the most of those words.
  static void LookAtDecimals(const KeyColumn& column, KeyRange* range) {
    auto least = std::numeric_limits<int64_t>::max();
    auto most = std::numeric_limits<int64_t>::min();
    column.VisitBytes([&](int64_t, std::string_view bytes) {
      const auto word = static_cast<int64_t>(EightBytes(bytes, 0));
      const uint64_t above = word < 0 ? ~uint64_t{0} : 0;
      for (int64_t byte = 8; byte < static_cast<int64_t>(bytes.size()); byte += 8) {
        range->wide = range->wide || EightBytes(bytes, byte) != above;
      }
      least = std::min(least, word);
      most = std::max(most, word);
    });
    range->least = static_cast<uint64_t>(least);
    range->most = static_cast<uint64_t>(most);
  }

  std::vector<KeyRange> ranges_;
  std::vector<uint64_t> words_;
  std::vector<uint64_t> compact_;
};

std::shared_ptr<arrow::DataType> IndexType(const arrow::DataType& type) {
  return static_cast<const arrow::DictionaryType&>(type).index_type();
}

/// Whether no value of a dictionary comes twice and none is null: else codes would tell equal keys apart.
arrow::Result<bool> AreDistinct(Resources& resources, const std::shared_ptr<arrow::ArrayData>& dictionary) {
  if (dictionary->GetNullCount() != 0) {
    return false;
  }
  const auto values = arrow::RecordBatch::Make(arrow::schema({arrow::field("", dictionary->type)}), dictionary->length,
                                               {arrow::MakeArray(dictionary)});
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*values->schema(), {0}));
  ARROW_ASSIGN_OR_RAISE(const auto encoded, encoder.Encode(resources.memory(), *values));
  GroupMap map(resources.memory(), encoder);
  std::vector<uint32_t> numbers(dictionary->length);
  std::vector<uint32_t> added;
  ARROW_RETURN_NOT_OK(map.FindOrInsert(encoded, nullptr, dictionary->length, numbers.data(), &added));
  return map.size() == dictionary->length;
}

/// Consecutive rows of a pinned batch.
struct Stretch {
  std::shared_ptr<arrow::RecordBatch> batch;
  const std::vector<int>* keys;
};

/// The parts of one text column: its bytes, eight at a time, and its length where that tells values apart.
void AddBytes(int key, const KeyRange& range, std::vector<KeyPart>* parts) {
  for (size_t byte = 0; byte < range.least_bytes.size(); byte += 8) {
    KeyPart part{.key = key, .source = KeyPart::Source::kBytes, .byte = static_cast<int>(byte)};
    for (size_t b = 0; b < 8; ++b) {
      const auto span = static_cast<uint64_t>(range.most_bytes[byte + b] - range.least_bytes[byte + b]);
      part.least |= static_cast<uint64_t>(range.least_bytes[byte + b]) << (8 * b);
      part.mask |= ((uint64_t{1} << std::bit_width(span)) - 1) << (8 * b);
      part.bits += std::bit_width(span);
    }
    if (part.bits > 0 || part.least != 0) {
      parts->push_back(part);
    }
  }
  const auto spread = static_cast<uint64_t>(range.most_length - range.least_length) + (range.has_null ? 1 : 0);
  KeyPart length{.key = key, .source = KeyPart::Source::kLength, .nullable = range.has_null};
  length.least = range.has_value ? static_cast<uint64_t>(range.least_length) : 0;
  length.bits = std::bit_width(spread);
  parts->push_back(length);
}

}  // namespace

arrow::Result<KeyLayout> KeyLayout::Plain(std::span<const Side> sides) {
  KeyLayout layout;
  bool one_word = true;
  bool words = true;
  for (const Side& side : sides) {
    ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*side.table->schema(), *side.keys));
    one_word = one_word && encoder.hash_is_key();
    words = words && side.keys->size() == 2;
    for (int key : *side.keys) {
      const auto& field = *side.table->schema()->field(key);
      ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::OfType(field.type(), field.name()));
      words = words && column.is_word();
    }
  }
  for (const Side& side : sides) {
    for (size_t c = 0; words && c < side.table->chunks().size(); ++c) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, side.table->chunks()[c]->Pin());
      ARROW_ASSIGN_OR_RAISE(const auto columns,
                            KeyColumn::MakeAll(side.table->resources()->memory(), *batch, *side.keys));
      words = std::all_of(columns.begin(), columns.end(), [](const auto& c) { return c.data()->GetNullCount() == 0; });
    }
  }
  layout.form_ = one_word ? KeyForm::kWord : (words ? KeyForm::kTwoWords : KeyForm::kHash);
  return layout;
}

arrow::Result<KeyLayout> KeyLayout::Packed(Resources& resources, const Table& table, const std::vector<int>& keys) {
  const Side side{&table, &keys};
  return Packed(resources, std::span(&side, 1));
}

arrow::Result<KeyLayout> KeyLayout::Packed(Resources& resources, std::span<const Side> sides) {
  bool on_disk = false;
  for (const Side& side : sides) {
    ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*side.table->schema(), *side.keys));
    if (encoder.hash_is_key() || side.keys->empty()) {
      return Plain(sides);
    }
    const auto& chunks = side.table->chunks();
    on_disk = on_disk || std::any_of(chunks.begin(), chunks.end(), [](const auto& c) { return c->spilled(); });
  }
  KeyLayout layout;
  if (on_disk) {
    return layout;
  }
  ARROW_RETURN_NOT_OK(layout.FindDictionaries(resources, sides));
  std::vector<KeyColumn> kinds;
  for (size_t k = 0; k < sides[0].keys->size(); ++k) {
    const auto& field = *sides[0].table->schema()->field((*sides[0].keys)[k]);
    const bool coded = layout.dictionary(k) != nullptr;
    ARROW_ASSIGN_OR_RAISE(auto kind, KeyColumn::OfType(coded ? IndexType(*field.type()) : field.type(), field.name()));
    kinds.push_back(std::move(kind));
  }
  // A glance first, which mostly tells what does not fit.
  std::vector<KeyRange> all(kinds.size());
  for (const Side& side : sides) {
    if (!side.table->chunks().empty()) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, side.table->chunks()[0]->Pin());
      ARROW_ASSIGN_OR_RAISE(const auto columns,
                            layout.Columns(resources.memory(), *batch->Slice(0, KeyWords::kBlockRows), *side.keys));
      Scanner scanner(kinds.size());
      if (!scanner.Look(columns)) {
        return layout;
      }
      for (size_t k = 0; k < all.size(); ++k) {
        Merge(scanner.ranges()[k], kinds[k].kind(), &all[k]);
      }
    }
  }
  if (!layout.Pack(kinds, all)) {
    return KeyLayout();
  }
  std::vector<Stretch> stretches;
  for (const Side& side : sides) {
    for (const auto& chunk : side.table->chunks()) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
      for (int64_t offset = 0; offset < batch->num_rows(); offset += kScanRows) {
        stretches.push_back({batch->Slice(offset, kScanRows), side.keys});
      }
    }
  }
  std::vector<std::vector<KeyRange>> seen(stretches.size());
  std::atomic<bool> too_long{false};
  ARROW_RETURN_NOT_OK(resources.arena().ParallelFor(static_cast<int64_t>(stretches.size()), [&](int64_t i) {
    if (too_long.load(std::memory_order_relaxed)) {
      return arrow::Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(const auto columns,
                          layout.Columns(resources.memory(), *stretches[i].batch, *stretches[i].keys));
    Scanner scanner(kinds.size());
    if (!scanner.Look(columns)) {
      too_long.store(true, std::memory_order_relaxed);
    }
    seen[i] = scanner.ranges();
    return arrow::Status::OK();
  }));
  for (const auto& ranges : seen) {
    for (size_t k = 0; k < ranges.size(); ++k) {
      Merge(ranges[k], kinds[k].kind(), &all[k]);
    }
  }
  return !too_long.load() && layout.Pack(kinds, all) ? layout : KeyLayout();
}

arrow::Status KeyLayout::FindDictionaries(Resources& resources, std::span<const Side> sides) {
  dictionaries_.assign(sides[0].keys->size(), nullptr);
  for (size_t k = 0; k < dictionaries_.size(); ++k) {
    std::shared_ptr<arrow::ArrayData> shared;
    bool same = true;
    for (const Side& side : sides) {
      const int column = (*side.keys)[k];
      same = same && side.table->schema()->field(column)->type()->id() == arrow::Type::DICTIONARY;
      for (size_t c = 0; same && c < side.table->chunks().size(); ++c) {
        ARROW_ASSIGN_OR_RAISE(const auto batch, side.table->chunks()[c]->Pin());
        const auto& dictionary = batch->column_data(column)->dictionary;
        shared = shared == nullptr ? dictionary : shared;
        same = dictionary == shared || arrow::MakeArray(dictionary)->Equals(arrow::MakeArray(shared));
      }
    }
    if (same && shared != nullptr) {
      ARROW_ASSIGN_OR_RAISE(const bool distinct, AreDistinct(resources, shared));
      dictionaries_[k] = distinct ? shared : nullptr;
    }
  }
  return arrow::Status::OK();
}

arrow::Result<std::vector<KeyColumn>> KeyLayout::Columns(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                                         const std::vector<int>& keys) const {
  std::vector<KeyColumn> columns;
  for (size_t k = 0; k < keys.size(); ++k) {
    auto data = batch.column_data(keys[k]);
    if (k < dictionaries_.size() && dictionaries_[k] != nullptr) {
      auto codes = data->Copy();
      codes->type = IndexType(*data->type);
      codes->dictionary = nullptr;
      data = std::move(codes);
    }
    ARROW_ASSIGN_OR_RAISE(auto column, KeyColumn::Make(pool, std::move(data), batch.column_name(keys[k])));
    columns.push_back(std::move(column));
  }
  return columns;
}

bool KeyLayout::CanUnpack(size_t key, const arrow::DataType& type) const {
  switch (type.id()) {
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
      return false;
    case arrow::Type::DICTIONARY:
      return dictionaries_[key] != nullptr;
    default:
      return arrow::is_primitive(type.id()) || arrow::is_decimal(type.id()) || arrow::is_base_binary_like(type.id()) ||
             arrow::is_binary_view_like(type.id()) || type.id() == arrow::Type::FIXED_SIZE_BINARY;
  }
}

bool KeyLayout::Pack(const std::vector<KeyColumn>& kinds, const std::vector<KeyRange>& ranges) {
  parts_.clear();
  floats_.clear();
  may_be_missing_ = false;
  for (size_t k = 0; k < kinds.size(); ++k) {
    const KeyRange& range = ranges[k];
    const auto key = static_cast<int>(k);
    floats_.push_back(IsFloat(kinds[k].kind()));
    may_be_missing_ = may_be_missing_ || range.has_null || floats_.back();
    const bool narrow = kinds[k].kind() == KeyKind::kDecimal && !range.wide;
    if (!kinds[k].is_word() && kinds[k].kind() != KeyKind::kNull && !narrow) {
      AddBytes(key, range, &parts_);
      continue;
    }
    const uint64_t span = range.most - range.least;
    if (range.has_null && span == std::numeric_limits<uint64_t>::max()) {
      return false;
    }
    KeyPart part{.key = key, .nullable = range.has_null, .least = range.least};
    part.bits = std::bit_width(span + (range.has_null ? 1 : 0));
    parts_.push_back(part);
  }
  return Place();
}

bool KeyLayout::Place() {
  std::vector<KeyPart*> by_size;
  int bits = 0;
  for (KeyPart& part : parts_) {
    by_size.push_back(&part);
    bits += part.bits;
  }
  // The largest first, each where it still fits (first-fit decreasing).
  std::stable_sort(by_size.begin(), by_size.end(), [](const auto* a, const auto* b) { return a->bits > b->bits; });
  std::array<int, 2> used = {0, 0};
  for (KeyPart* part : by_size) {
    part->word = used[0] + part->bits <= 64 ? 0 : 1;
    part->shift = used[part->word] & 63;  // of a part without bits it does not matter
    used[part->word] += part->bits;
    if (used[1] > 64) {
      return false;
    }
  }
  form_ = bits <= 64 ? KeyForm::kWord : KeyForm::kTwoWords;
  return true;
}

int KeyLayout::bits() const {
  return std::accumulate(parts_.begin(), parts_.end(), 0, [](int sum, const KeyPart& part) { return sum + part.bits; });
}

bool KeyLayout::IsMissing(uint64_t first, uint64_t second) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const KeyPart& part) {
    const uint64_t code = PartOf(part, part.word == 0 ? first : second);
    if (part.nullable && code == 0) {
      return true;
    }
    return part.source == KeyPart::Source::kWord && floats_[part.key] &&
           std::isnan(std::bit_cast<double>(code - (part.nullable ? 1 : 0) + part.least));
  });
}

}  // namespace cylon
