/// How the keys of rows become one or two words, so that kernels compare and hash words and not values.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cylon/kernels/key_column.h"
#include "cylon/table/table.h"

namespace cylon {

/// What stands for a row's key.
enum class KeyForm : uint8_t {
  kWord,      ///< one word: equal words are equal keys
  kTwoWords,  ///< two of them
  kHash,      ///< the row's hash (HashRows): rows of equal hashes have to be compared
};

/// The values of one key column, over the tables that are to be compared with each other.
struct KeyRange {
  bool has_null = false;
  bool has_value = false;
  /// Of words, and of decimals of which each fits one: compared as the signed or unsigned numbers that they are.
  bool wide = false;  ///< a decimal does not
  uint64_t least = 0;
  uint64_t most = 0;
  /// Of bytes: what comes after a value's end counts as 0.
  int64_t least_length = 0;
  int64_t most_length = 0;
  std::vector<uint8_t> least_bytes;
  std::vector<uint8_t> most_bytes;
};

/// A part of a packed key: bits of one word of it.
struct KeyPart {
  enum class Source : uint8_t {
    kWord,    ///< the value's word, less `least`; where the column has nulls, 0 is null and values begin with 1
    kBytes,   ///< eight of the value's bytes, little-endian: of each what it is above its least, in as few bits as do
    kLength,  ///< the number of the value's bytes, less `least`; nulls as with kWord
  };
  int key = 0;  ///< which of the key columns
  Source source = Source::kWord;
  bool nullable = false;  ///< of kWord and kLength
  int byte = 0;           ///< of kBytes: the first of the eight
  uint64_t least = 0;     ///< of kBytes: by byte
  uint64_t mask = 0;      ///< of kBytes: in each byte, the bits that differ
  int bits = 0;
  int word = 0;
  int shift = 0;
};

/// Keys are packed by what their values are, not by what their types could hold: three columns of small numbers, or a
/// text of which four digits differ, fit one word. Dictionaries that are all the same count by their codes. Where keys
/// do not fit two words, rows are hashed.
class KeyLayout {
 public:
  KeyLayout() = default;

  /// One side of what is to be compared.
  struct Side {
    const Table* table;
    const std::vector<int>* keys;
  };

  /// By types and nulls alone: one word, two words of columns without nulls, or hashes. Words are those of the values
  /// (KeyColumn::LoadWords), so that they can be ordered as the values are. Errors as KeyEncoder::Make.
  static arrow::Result<KeyLayout> Plain(std::span<const Side> sides);

  /// By the values, which are all looked at unless one column's words will do, a glance tells that they do not fit, or
  /// some are on disk: reading those once more costs more than what is gained.
  static arrow::Result<KeyLayout> Packed(Resources& resources, std::span<const Side> sides);
  static arrow::Result<KeyLayout> Packed(Resources& resources, const Table& table, const std::vector<int>& keys);

  KeyForm form() const { return form_; }
  /// Whether words are put together from parts. Else they are those of the values, and null has none.
  bool packed() const { return !parts_.empty(); }
  const std::vector<KeyPart>& parts() const { return parts_; }
  /// Of packed words: how many bits of them are in use.
  int bits() const;

  /// The key columns of a batch as they are packed: of those that count by code, their codes.
  arrow::Result<std::vector<KeyColumn>> Columns(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                                const std::vector<int>& keys) const;
  /// The dictionary of a key that counts by code, else nullptr.
  const std::shared_ptr<arrow::ArrayData>& dictionary(size_t key) const { return dictionaries_[key]; }
  /// Whether key number `key`, of `type`, can be written back from packed words: not floats, whose NaN and -0.0 have
  /// lost their bits, and not what is encoded, but by code.
  bool CanUnpack(size_t key, const arrow::DataType& type) const;

  /// Whether any key among the packed words is null or NaN.
  bool IsMissing(uint64_t first, uint64_t second) const;
  /// Whether IsMissing can be true at all.
  bool may_be_missing() const { return may_be_missing_; }

 private:
  /// Parts for the columns of `kinds`, which hold what `ranges` tell; false where they do not fit two words.
  bool Pack(const std::vector<KeyColumn>& kinds, const std::vector<KeyRange>& ranges);
  bool Place();
  /// Takes codes for the keys whose dictionaries are the same in all batches of all sides.
  arrow::Status FindDictionaries(Resources& resources, std::span<const Side> sides);

  KeyForm form_ = KeyForm::kHash;
  std::vector<KeyPart> parts_;
  std::vector<bool> floats_;                                     // by key: whether its word is a double
  std::vector<std::shared_ptr<arrow::ArrayData>> dictionaries_;  // by key
  bool may_be_missing_ = false;
};

/// The words of the keys of one batch, a block of rows at a time.
class KeyWords {
 public:
  static constexpr int64_t kBlockRows = 4096;  ///< 32 KiB of words stay in the first-level cache or just beyond

  struct Block {
    const uint64_t* first = nullptr;
    const uint64_t* second = nullptr;  ///< kTwoWords
    const uint8_t* valid = nullptr;    ///< one byte per row, 0 where a key is null; nullptr: none is
  };

  /// Of columns `keys` of `batch`; the layout lives longer. Not for kHash.
  static arrow::Result<KeyWords> Make(arrow::MemoryPool* pool, const KeyLayout& layout, const arrow::RecordBatch& batch,
                                      const std::vector<int>& keys);

  /// At most kBlockRows rows, good until the next Read. Words of rows with null keys are anything unless they are
  /// packed, when null has a value of its own.
  Block Read(int64_t offset, int64_t count);

 private:
  void ReadPart(const KeyPart& part, int64_t offset, int64_t count, uint64_t* out);

  const KeyLayout* layout_ = nullptr;
  std::vector<KeyColumn> columns_;
  bool nullable_ = false;
  std::vector<uint64_t> first_;
  std::vector<uint64_t> second_;
  std::vector<uint64_t> scratch_;
  std::vector<uint8_t> valid_;
};

/// The key columns of `count` packed keys, of the types of `fields`, for each of which the layout CanUnpack.
/// CapacityError where text outgrows its 32-bit offsets. Memory out of `pool`.
arrow::Result<arrow::ArrayVector> UnpackKeys(arrow::MemoryPool* pool, const KeyLayout& layout,
                                             const arrow::FieldVector& fields, const uint64_t* first,
                                             const uint64_t* second, int64_t count);

}  // namespace cylon
