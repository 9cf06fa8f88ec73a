// Normalised sort keys: rows that compare by memcmp as they are to be ordered.
#include "cylon/kernels/sort_key.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace cylon {

namespace {

/// Where a row stands among the values: the same for both directions.
struct Places {
  uint8_t value;
  uint8_t nan;
  uint8_t null;
};
Places PlacesOf(NullPlacement nulls) { return nulls == NullPlacement::kFirst ? Places{2, 1, 0} : Places{0, 1, 2}; }

arrow::Status CheckKey(const arrow::Schema& schema, const SortKey& key) {
  if (key.column < 0 || key.column >= schema.num_fields()) {
    return arrow::Status::IndexError("sort key ", key.column, " was asked for of a table of ", schema.num_fields(),
                                     " columns; columns are numbered from 0");
  }
  const auto& field = *schema.field(key.column);
  const auto column = KeyColumn::OfType(field.type(), field.name());
  const bool interval = field.type()->id() == arrow::Type::INTERVAL_MONTHS ||
                        field.type()->id() == arrow::Type::INTERVAL_DAY_TIME ||
                        field.type()->id() == arrow::Type::INTERVAL_MONTH_DAY_NANO;
  if (!column.ok() || interval) {
    return arrow::Status::NotImplemented("column '", field.name(), "' of type ", field.type()->ToString(),
                                         " cannot be sorted by; sort by numbers, strings, dates or times, which the "
                                         "parts of a nested column can be taken as");
  }
  return arrow::Status::OK();
}

CYLON_CLONES void FlipSigns(uint64_t* words, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    words[i] ^= kAscendingSign;
  }
}

/// All bits of negative doubles, the sign of others: as numbers they then compare as the doubles do.
CYLON_CLONES void FlipDoubles(uint64_t* words, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    words[i] ^= (uint64_t{0} - (words[i] >> 63)) | kAscendingSign;
  }
}

/// Words that compare unsigned as the values do; NaN and null get 0. The place of each row.
void OrderWords(const KeyColumn& column, const SortKey& key, uint64_t* words, uint8_t* places) {
  const int64_t count = column.length();
  const Places place = PlacesOf(key.nulls);
  LoadAscendingWords(column, words);
  std::fill(places, places + count, place.value);
  const bool descending = key.order == SortOrder::kDescending;
  if (IsFloat(column.kind())) {
    for (int64_t i = 0; i < count; ++i) {
      places[i] = words[i] == kAscendingNan ? place.nan : place.value;
    }
  }
  for (int64_t i = 0; descending && i < count; ++i) {
    words[i] = ~words[i];
  }
  if (column.may_have_nulls()) {
    for (int64_t i = 0; i < count; ++i) {
      places[i] = column.IsNull(i) ? place.null : places[i];
    }
  }
  if (IsFloat(column.kind()) || column.may_have_nulls()) {
    for (int64_t i = 0; i < count; ++i) {
      words[i] = places[i] == place.value ? words[i] : 0;
    }
  }
}

/// Bytes of a word that its type needs, the low ones of an integer.
int64_t WordBytes(const KeyColumn& column) { return IsFloat(column.kind()) ? 8 : column.width(); }

void PutBigEndian(uint64_t word, int64_t width, uint8_t* out) {
  const uint64_t swapped = __builtin_bswap64(word << (64 - 8 * width));
  std::memcpy(out, &swapped, width);
}

}  // namespace

arrow::Result<bool> AreWordSortKeys(const arrow::Schema& schema, const std::vector<SortKey>& keys) {
  bool words = true;
  for (const auto& key : keys) {
    ARROW_RETURN_NOT_OK(CheckKey(schema, key));
    const auto& field = *schema.field(key.column);
    ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::OfType(field.type(), field.name()));
    words = words && column.is_word();
  }
  return words;
}

void MakeAscending(KeyKind kind, uint64_t* words, int64_t count) {
  if (IsFloat(kind)) {
    FlipDoubles(words, count);
  } else if (kind == KeyKind::kSigned) {
    FlipSigns(words, count);
  }
}

void LoadAscendingWords(const KeyColumn& column, uint64_t* out) {
  column.LoadWords(out);
  MakeAscending(column.kind(), out, column.length());
}

arrow::Status EncodeWordKey(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, const SortKey& key,
                            WordKeys* out) {
  ARROW_ASSIGN_OR_RAISE(const auto column,
                        KeyColumn::Make(pool, batch.column_data(key.column), batch.column_name(key.column)));
  out->words.resize(batch.num_rows());
  out->places.resize(batch.num_rows());
  OrderWords(column, key, out->words.data(), out->places.data());
  return arrow::Status::OK();
}

arrow::Result<ByteKeys> EncodeByteKeys(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                       const std::vector<SortKey>& keys) {
  const int64_t count = batch.num_rows();
  std::vector<KeyColumn> columns;
  int64_t fixed = static_cast<int64_t>(keys.size());
  for (const auto& key : keys) {
    ARROW_RETURN_NOT_OK(CheckKey(*batch.schema(), key));
    ARROW_ASSIGN_OR_RAISE(auto column,
                          KeyColumn::Make(pool, batch.column_data(key.column), batch.column_name(key.column)));
    if (column.is_fixed()) {
      fixed += column.is_word() ? WordBytes(column) : column.width();
    }
    columns.push_back(std::move(column));
  }
  ByteKeys result;
  ARROW_ASSIGN_OR_RAISE(result.offsets, arrow::AllocateBuffer((count + 1) * 8, pool));
  auto* offsets = result.offsets->mutable_data_as<int64_t>();
  std::fill_n(offsets, count + 1, fixed);
  for (const auto& column : columns) {
    if (!column.is_fixed()) {
      column.VisitBytes([&](int64_t i, std::string_view text) {
        offsets[i] += static_cast<int64_t>(text.size()) + 2 + std::count(text.begin(), text.end(), '\0');
      });
    }
  }
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) {
    total += std::exchange(offsets[i], total);
  }
  offsets[count] = total;
  // Nulls leave their bytes as they are, so these are 0 from the start.
  ARROW_ASSIGN_OR_RAISE(result.bytes, arrow::AllocateBuffer(total, pool));
  uint8_t* bytes = result.bytes->mutable_data();
  std::memset(bytes, 0, total);
  ARROW_ASSIGN_OR_RAISE(auto cursors, arrow::AllocateBuffer(count * 8, pool));
  auto* cursor = cursors->mutable_data_as<int64_t>();
  std::copy_n(offsets, count, cursor);
  std::vector<uint64_t> words(count);
  std::vector<uint8_t> places(count);
  for (size_t k = 0; k < keys.size(); ++k) {
    const KeyColumn& column = columns[k];
    const Places place = PlacesOf(keys[k].nulls);
    const uint8_t flip = keys[k].order == SortOrder::kDescending ? 0xFF : 0;
    if (column.is_word()) {
      OrderWords(column, keys[k], words.data(), places.data());
      const int64_t width = WordBytes(column);
      // Of narrow integers the sign bit is not the word's first.
      const uint64_t sign =
          column.kind() == KeyKind::kSigned && width < 8 ? kAscendingSign ^ (kAscendingSign >> (64 - 8 * width)) : 0;
      for (int64_t i = 0; i < count; ++i) {
        uint8_t* out = bytes + cursor[i];
        out[0] = places[i];
        if (places[i] == place.value) {
          PutBigEndian(words[i] ^ sign, width, out + 1);
        }
        cursor[i] += 1 + width;
      }
      continue;
    }
    for (int64_t i = 0; i < count; ++i) {
      bytes[cursor[i]++] = column.IsNull(i) ? place.null : place.value;
    }
    if (column.kind() == KeyKind::kNull) {
      continue;
    }
    column.VisitBytes([&](int64_t i, std::string_view text) {
      uint8_t* out = bytes + cursor[i];
      if (column.kind() == KeyKind::kDecimal) {
        for (size_t b = 0; b < text.size(); ++b) {
          out[b] = static_cast<uint8_t>(text[text.size() - 1 - b]) ^ flip;
        }
        out[0] ^= 0x80;
      } else if (column.is_fixed()) {
        for (size_t b = 0; b < text.size(); ++b) {
          out[b] = static_cast<uint8_t>(text[b]) ^ flip;
        }
      } else {
        for (char c : text) {
          *out++ = static_cast<uint8_t>(c) ^ flip;
          if (c == '\0') {
            *out++ = 0xFF ^ flip;
          }
        }
        *out++ = flip;
        *out++ = flip;
        cursor[i] = out - bytes;
      }
    });
    if (column.is_fixed()) {
      for (int64_t i = 0; i < count; ++i) {
        cursor[i] += column.width();
      }
    }
  }
  return result;
}

arrow::Status EncodeSortKeys(const arrow::RecordBatch& batch, const std::vector<SortKey>& keys,
                             std::vector<uint8_t>* bytes, std::vector<int64_t>* offsets) {
  ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeByteKeys(arrow::default_memory_pool(), batch, keys));
  bytes->assign(encoded.bytes->data(), encoded.bytes->data() + encoded.bytes->size());
  const auto* starts = encoded.offsets->data_as<int64_t>();
  offsets->assign(starts, starts + batch.num_rows() + 1);
  return arrow::Status::OK();
}

}  // namespace cylon
