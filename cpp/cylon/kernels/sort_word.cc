// Sort keys as words.
#include "cylon/kernels/sort_word.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cylon/kernels/sort_key.h"

namespace cylon {

namespace {

/// Rows that are encoded at a time: their words stay in the first-level cache.
constexpr int64_t kBlockRows = 1024;

/// The range of a key's values.
struct Range {
  uint64_t low = ~uint64_t{0};
  uint64_t high = 0;
  bool has_null = false;
  bool has_nan = false;

  void Join(const Range& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
    has_null = has_null || other.has_null;
    has_nan = has_nan || other.has_nan;
  }
};

CYLON_CLONES void FindRange(const uint64_t* words, int64_t count, uint64_t* low, uint64_t* high) {
  uint64_t least = *low;
  uint64_t most = *high;
  for (int64_t i = 0; i < count; ++i) {
    least = std::min(least, words[i]);
    most = std::max(most, words[i]);
  }
  *low = least;
  *high = most;
}

CYLON_CLONES void CodesUp(uint64_t* words, int64_t count, uint64_t subtracted) {
  for (int64_t i = 0; i < count; ++i) {
    words[i] -= subtracted;
  }
}

CYLON_CLONES void CodesDown(uint64_t* words, int64_t count, uint64_t from) {
  for (int64_t i = 0; i < count; ++i) {
    words[i] = from - words[i];
  }
}

/// Which part of a key a field holds: all of it where null, NaN and the values together fit 64 bits, which only a full
/// range of 64-bit values does not.
enum class Part : uint8_t { kWhole, kPlace, kValue };

struct Field {
  size_t key = 0;
  Part part = Part::kWhole;
  uint64_t values = 0;  // code of the first value
  uint64_t nan = 0;
  uint64_t null = 0;
  int bits = 0;
  int end = 0;  // bits of the string up to its end
};

class PackedWords : public SortWords {
 public:
  PackedWords(const arrow::Schema& schema, const std::vector<SortKey>& keys) : schema_(schema), keys_(keys) {}

  arrow::Status Init(Resources& resources, const Batches& batches) {
    for (const auto& batch : batches) {
      std::vector<KeyColumn> columns;
      for (const auto& key : keys_) {
        ARROW_ASSIGN_OR_RAISE(auto column, KeyColumn::Make(resources.memory(), batch->column_data(key.column),
                                                           batch->column_name(key.column)));
        columns.push_back(std::move(column));
      }
      columns_.push_back(std::move(columns));
      locator_.AddBatch(batch->num_rows());
    }
    ARROW_RETURN_NOT_OK(FindRanges(resources));
    for (size_t k = 0; k < keys_.size(); ++k) {
      AddFields(k);
    }
    total_bits_ = fields_.empty() ? 0 : fields_.back().end;
    return arrow::Status::OK();
  }

  int bits() const override { return std::min(total_bits_, 64); }
  bool ends_with_first() const override { return total_bits_ <= 64; }

  void LoadFirst(size_t batch, int64_t offset, int64_t count, uint64_t* out) const override {
    for (int64_t begin = 0; begin < count; begin += kBlockRows) {
      Load(0, batch, offset + begin, std::min(kBlockRows, count - begin), out + begin);
    }
  }

  bool LoadNext(int level, std::span<const uint32_t> rows, uint64_t* out) const override {
    if (level * 64 >= total_bits_) {
      return false;
    }
    LoadRows(level, rows, out);
    return true;
  }

  int Compare(uint32_t a, uint32_t b) const override {
    for (int level = 0; level == 0 || level * 64 < total_bits_; ++level) {
      const uint32_t rows[2] = {a, b};
      uint64_t words[2];
      LoadRows(level, rows, words);
      if (words[0] != words[1]) {
        return words[0] < words[1] ? -1 : 1;
      }
    }
    return 0;
  }

  bool Restores(int column) const override { return FieldOf(column) != nullptr; }

  void Restore(int column, const uint64_t* words, std::span<const uint32_t> order, int64_t at,
               arrow::Buffer* out) const override {
    const Field& field = *FieldOf(column);
    switch (schema_.field(column)->type()->byte_width()) {
      case 1:
        RestoreValues(field, words, order, out->mutable_data_as<uint8_t>() + at);
        break;
      case 2:
        RestoreValues(field, words, order, out->mutable_data_as<uint16_t>() + at);
        break;
      case 4:
        RestoreValues(field, words, order, out->mutable_data_as<uint32_t>() + at);
        break;
      default:
        RestoreValues(field, words, order, out->mutable_data_as<uint64_t>() + at);
    }
  }

  arrow::Result<std::shared_ptr<arrow::Buffer>> RestoreValidity(arrow::MemoryPool* pool, int column,
                                                                const uint64_t* words, std::span<const uint32_t> order,
                                                                int64_t* null_count) const override {
    const Field& field = *FieldOf(column);
    *null_count = 0;
    if (!ranges_[field.key].has_null) {
      return nullptr;
    }
    const auto count = static_cast<int64_t>(order.size());
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(count, pool));
    const uint64_t mask = MaskOf(field);
    const int shift = ShiftOf(field);
    for (int64_t i = 0; i < count; ++i) {
      const bool valid = ((words[order[i]] >> shift) & mask) != field.null;
      bits->mutable_data()[i / 8] |= static_cast<uint8_t>(static_cast<unsigned>(valid) << (i % 8));
      *null_count += static_cast<int64_t>(!valid);
    }
    return *null_count == 0 ? nullptr : bits;
  }

 private:
  arrow::Status FindRanges(Resources& resources) {
    std::vector<std::vector<Range>> found(columns_.size(), std::vector<Range>(keys_.size()));
    ARROW_RETURN_NOT_OK(resources.arena().ParallelFor(static_cast<int64_t>(columns_.size()), [&](int64_t b) {
      for (size_t k = 0; k < keys_.size(); ++k) {
        found[b][k] = RangeOf(columns_[b][k]);
      }
      return arrow::Status::OK();
    }));
    ranges_.resize(keys_.size());
    for (const auto& batch : found) {
      for (size_t k = 0; k < keys_.size(); ++k) {
        ranges_[k].Join(batch[k]);
      }
    }
    return arrow::Status::OK();
  }

  static Range RangeOf(const KeyColumn& column) {
    Range range;
    uint64_t words[kBlockRows];
    for (int64_t begin = 0; begin < column.length(); begin += kBlockRows) {
      const KeyColumn block = column.Slice(begin, std::min(kBlockRows, column.length() - begin));
      LoadAscendingWords(block, words);
      int64_t count = block.length();
      if (block.may_have_nulls() || IsFloat(block.kind())) {
        int64_t kept = 0;
        for (int64_t i = 0; i < count; ++i) {
          const bool null = block.IsNull(i);
          const bool nan = !null && IsFloat(block.kind()) && words[i] == kAscendingNan;
          range.has_null = range.has_null || null;
          range.has_nan = range.has_nan || nan;
          words[kept] = words[i];
          kept += static_cast<int64_t>(!null && !nan);
        }
        count = kept;
      }
      FindRange(words, count, &range.low, &range.high);
    }
    return range;
  }

  void AddFields(size_t k) {
    const Range& range = ranges_[k];
    const int specials = static_cast<int>(range.has_null) + static_cast<int>(range.has_nan);
    const bool empty = range.low > range.high;
    const uint64_t span = empty ? 0 : range.high - range.low;  // the largest value's distance
    const bool first = keys_[k].nulls == NullPlacement::kFirst;
    const auto add = [&](Part part, uint64_t values, uint64_t nan, uint64_t null, uint64_t last) {
      Field field{k, part, values, nan, null, static_cast<int>(std::bit_width(last)), 0};
      field.end = (fields_.empty() ? 0 : fields_.back().end) + field.bits;
      fields_.push_back(field);
    };
    if (span > ~uint64_t{0} - specials) {
      add(Part::kPlace, first ? 2 : 0, 1, first ? 0 : 2, 2);
      add(Part::kValue, 0, 0, 0, span);
    } else if (first) {
      add(Part::kWhole, specials, static_cast<uint64_t>(range.has_null), 0, span + specials);
    } else {
      add(Part::kWhole, 0, span + 1, span + 1 + static_cast<uint64_t>(range.has_nan), span + specials);
    }
  }

  /// The codes of one field of a block of rows.
  void LoadField(const Field& field, const KeyColumn& column, uint64_t* out) const {
    const int64_t count = column.length();
    const Range& range = ranges_[field.key];
    if (field.part == Part::kPlace) {
      std::fill(out, out + count, field.values);
      if (range.has_nan) {
        uint64_t words[kBlockRows];
        LoadAscendingWords(column, words);
        for (int64_t i = 0; i < count; ++i) {
          out[i] = words[i] == kAscendingNan ? field.nan : out[i];
        }
      }
    } else {
      LoadAscendingWords(column, out);
      uint64_t nans[kBlockRows / 64] = {};
      if (range.has_nan) {
        for (int64_t i = 0; i < count; ++i) {
          nans[i / 64] |= static_cast<uint64_t>(out[i] == kAscendingNan) << (i % 64);
        }
      }
      // All-null columns have no range; what lies under their nulls is replaced below.
      if (keys_[field.key].order == SortOrder::kDescending) {
        CodesDown(out, count, range.high + field.values);
      } else {
        CodesUp(out, count, range.low - field.values);
      }
      if (range.has_nan) {
        for (int64_t i = 0; i < count; ++i) {
          out[i] = (nans[i / 64] >> (i % 64) & 1) != 0 ? field.nan : out[i];
        }
      }
    }
    if (range.has_null && column.may_have_nulls()) {
      for (int64_t i = 0; i < count; ++i) {
        out[i] = column.IsNull(i) ? field.null : out[i];
      }
    }
  }

  void LoadRows(int level, std::span<const uint32_t> rows, uint64_t* out) const {
    for (size_t i = 0; i < rows.size(); ++i) {
      uint32_t batch = 0;
      int64_t position = 0;
      locator_.Locate(rows[i], &batch, &position);
      Load(level, batch, position, 1, out + i);
    }
  }

  void Load(int level, size_t batch, int64_t offset, int64_t count, uint64_t* out) const {
    // Bits [begin, end) of the string are this word's; of a string of one word, which is not padded, the last ones.
    const int begin = total_bits_ <= 64 ? total_bits_ - 64 : level * 64;
    const int end = begin + 64;
    bool filled = false;
    uint64_t codes[kBlockRows];
    for (const Field& field : fields_) {
      if (field.end <= begin || field.end - field.bits >= end || field.bits == 0) {
        continue;
      }
      const KeyColumn column = columns_[batch][field.key].Slice(offset, count);
      uint64_t* to = filled ? codes : out;
      LoadField(field, column, to);
      if (field.end > end) {
        for (int64_t i = 0; i < count; ++i) {
          to[i] >>= field.end - end;
        }
      } else if (field.end < end) {
        for (int64_t i = 0; i < count; ++i) {
          to[i] <<= end - field.end;
        }
      }
      for (int64_t i = 0; filled && i < count; ++i) {
        out[i] |= codes[i];
      }
      filled = true;
    }
    if (!filled) {
      std::fill(out, out + count, 0);
    }
  }

  static uint64_t MaskOf(const Field& field) {
    return field.bits == 64 ? ~uint64_t{0} : (uint64_t{1} << field.bits) - 1;
  }

  /// Where a field lies in the only word.
  int ShiftOf(const Field& field) const { return field.bits == 0 ? 0 : total_bits_ - field.end; }

  const Field* FieldOf(int column) const {
    if (total_bits_ > 64) {
      return nullptr;
    }
    const auto& type = *schema_.field(column)->type();
    for (const Field& field : fields_) {
      // A float's code stands for one NaN and one zero only; a decoded column (a dictionary, say) is not the column.
      if (keys_[field.key].column == column && field.part == Part::kWhole && arrow::is_primitive(type.id()) &&
          type.id() != arrow::Type::BOOL && !arrow::is_floating(type.id())) {
        return &field;
      }
    }
    return nullptr;
  }

  template <typename T>
  void RestoreValues(const Field& field, const uint64_t* words, std::span<const uint32_t> order, T* out) const {
    const Range& range = ranges_[field.key];
    const uint64_t mask = MaskOf(field);
    const int shift = ShiftOf(field);
    const uint64_t sign = columns_[0][field.key].kind() == KeyKind::kSigned ? kAscendingSign : 0;
    if (keys_[field.key].order == SortOrder::kDescending) {
      for (size_t i = 0; i < order.size(); ++i) {
        out[i] = static_cast<T>((range.high + field.values - ((words[order[i]] >> shift) & mask)) ^ sign);
      }
    } else {
      for (size_t i = 0; i < order.size(); ++i) {
        out[i] = static_cast<T>((((words[order[i]] >> shift) & mask) + range.low - field.values) ^ sign);
      }
    }
  }

  const arrow::Schema& schema_;
  const std::vector<SortKey>& keys_;
  std::vector<std::vector<KeyColumn>> columns_;  // by batch, then by key
  RowLocator locator_;
  std::vector<Range> ranges_;  // by key
  std::vector<Field> fields_;
  int total_bits_ = 0;
};

class ByteWords : public SortWords {
 public:
  arrow::Status Init(Resources& resources, const Batches& batches, const std::vector<SortKey>& keys) {
    encoded_.resize(batches.size());
    for (const auto& batch : batches) {
      locator_.AddBatch(batch->num_rows());
    }
    ARROW_RETURN_NOT_OK(resources.arena().ParallelFor(static_cast<int64_t>(batches.size()), [&](int64_t b) {
      return EncodeByteKeys(resources.memory(), *batches[b], keys).Value(&encoded_[b]);
    }));
    // What all begin with tells nothing: "customer 000001" and the like differ late.
    std::string_view shared;
    bool first = true;
    for (size_t b = 0; b < batches.size(); ++b) {
      for (int64_t i = 0; i < batches[b]->num_rows() && (first || !shared.empty()); ++i) {
        const std::string_view key = encoded_[b].key(i);
        shared = first ? key : shared.substr(0, Agreeing(shared, key));
        first = false;
      }
    }
    skipped_ = static_cast<int64_t>(shared.size());
    return arrow::Status::OK();
  }

  int bits() const override { return 64; }
  bool ends_with_first() const override { return false; }

  void LoadFirst(size_t batch, int64_t offset, int64_t count, uint64_t* out) const override {
    for (int64_t i = 0; i < count; ++i) {
      out[i] = WordAt(encoded_[batch].key(offset + i), skipped_);
    }
  }

  bool LoadNext(int level, std::span<const uint32_t> rows, uint64_t* out) const override {
    const int64_t start = skipped_ + int64_t{8} * level;
    bool more = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string_view key = KeyOf(rows[i]);
      more = more || static_cast<int64_t>(key.size()) > start;
      out[i] = WordAt(key, start);
    }
    return more;
  }

  int Compare(uint32_t a, uint32_t b) const override { return KeyOf(a).compare(KeyOf(b)); }

  bool Restores(int /*column*/) const override { return false; }
  void Restore(int /*column*/, const uint64_t* /*words*/, std::span<const uint32_t> /*order*/, int64_t /*at*/,
               arrow::Buffer* /*out*/) const override {}
  arrow::Result<std::shared_ptr<arrow::Buffer>> RestoreValidity(arrow::MemoryPool* /*pool*/, int /*column*/,
                                                                const uint64_t* /*words*/,
                                                                std::span<const uint32_t> /*order*/,
                                                                int64_t* /*null_count*/) const override {
    return nullptr;
  }

 private:
  std::string_view KeyOf(uint32_t row) const {
    uint32_t batch = 0;
    int64_t position = 0;
    locator_.Locate(row, &batch, &position);
    return encoded_[batch].key(position);
  }

  static size_t Agreeing(std::string_view a, std::string_view b) {
    return std::mismatch(a.begin(), a.begin() + static_cast<int64_t>(std::min(a.size(), b.size())), b.begin()).first -
           a.begin();
  }

  /// 8 bytes from `start` on as a number that compares as they do; 0 past the end, where no longer key agrees with the
  /// one that has ended (no encoded key is the beginning of another).
  static uint64_t WordAt(std::string_view key, int64_t start) {
    uint64_t word = 0;
    if (start < static_cast<int64_t>(key.size())) {
      std::memcpy(&word, key.data() + start, std::min<size_t>(key.size() - start, 8));
    }
    return __builtin_bswap64(word);
  }

  std::vector<ByteKeys> encoded_;
  RowLocator locator_;
  int64_t skipped_ = 0;  // bytes that all keys begin with
};

}  // namespace

arrow::Result<std::unique_ptr<SortWords>> MakePackedWords(Resources& resources, const arrow::Schema& schema,
                                                          const Batches& batches, const std::vector<SortKey>& keys) {
  auto words = std::make_unique<PackedWords>(schema, keys);
  ARROW_RETURN_NOT_OK(words->Init(resources, batches));
  return words;
}

arrow::Result<std::unique_ptr<SortWords>> MakeByteWords(Resources& resources, const Batches& batches,
                                                        const std::vector<SortKey>& keys) {
  auto words = std::make_unique<ByteWords>();
  ARROW_RETURN_NOT_OK(words->Init(resources, batches, keys));
  return words;
}

}  // namespace cylon
