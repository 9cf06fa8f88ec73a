// Eight bytes of many values at a time.
#include "cylon/kernels/key_bytes.h"

#include <algorithm>

#include "cylon/base/export.h"

namespace cylon {

namespace {

/// Text without nulls: values lie one after the other, and what follows a value may be read with it, but for the last.
template <typename Offset>
struct Text {
  const Offset* offsets;
  const uint8_t* bytes;
  int64_t rows;

  /// How many rows there are before those with fewer than eight bytes to the end of the text.
  int64_t RowsToRead(int64_t byte) const {
    int64_t count = rows;
    while (count > 0 && offsets[count - 1] + byte + 8 > offsets[rows]) {
      --count;
    }
    return count;
  }
};

template <typename Offset>
[[gnu::always_inline]] inline LengthBounds BoundsOf(const Offset* offsets, int64_t rows) {
  auto least = std::numeric_limits<Offset>::max();
  Offset most = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const Offset length = offsets[i + 1] - offsets[i];
    least = std::min(least, length);
    most = std::max(most, length);
  }
  return {rows, least, most};
}

/// The bits of eight bytes that belong to a value of which `length` bytes are left.
inline uint64_t BitsOf(int64_t length) {
  return length <= 0 ? 0 : ~uint64_t{0} >> (8 * (8 - std::min<int64_t>(length, 8)));
}

/// A load of eight bytes, of which those beyond the value are put out: no branch that depends on the length. Values of
/// one length, which ids often are, need not even look where they begin: 4 instructions each and not 14.
template <typename Offset>
[[gnu::always_inline]] inline void ReadTextBytes(const Text<Offset>& text, int64_t byte, uint64_t* out) {
  const int64_t whole = text.RowsToRead(byte);
  const LengthBounds lengths = BoundsOf(text.offsets, text.rows);
  const auto load = [](const uint8_t* from) {
    uint64_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
  };
  if (whole > 0 && lengths.least == lengths.most) {
    const uint64_t bits = BitsOf(lengths.most - byte);
    const uint8_t* from = text.bytes + text.offsets[0] + byte;
    for (int64_t i = 0; i < whole; ++i) {
      out[i] = load(from + i * lengths.most) & bits;
    }
  } else {
    for (int64_t i = 0; i < whole; ++i) {
      out[i] = load(text.bytes + text.offsets[i] + byte) & BitsOf(text.offsets[i + 1] - text.offsets[i] - byte);
    }
  }
  for (int64_t i = whole; i < text.rows; ++i) {
    const auto* value = reinterpret_cast<const char*>(text.bytes + text.offsets[i]);
    out[i] = EightBytes({value, static_cast<size_t>(text.offsets[i + 1] - text.offsets[i])}, byte);
  }
}

CYLON_CLONES void ReadAll(const Text<int32_t>& text, int64_t byte, uint64_t* out) { ReadTextBytes(text, byte, out); }
CYLON_CLONES void ReadAll(const Text<int64_t>& text, int64_t byte, uint64_t* out) { ReadTextBytes(text, byte, out); }

CYLON_CLONES LengthBounds FindAll(const int32_t* offsets, int64_t rows) { return BoundsOf(offsets, rows); }
CYLON_CLONES LengthBounds FindAll(const int64_t* offsets, int64_t rows) { return BoundsOf(offsets, rows); }

template <typename Offset>
Text<Offset> TextOf(const KeyColumn& column) {
  const auto& data = *column.data();
  return {data.GetValues<Offset>(1), data.buffers[2] == nullptr ? nullptr : data.buffers[2]->data(), data.length};
}

}  // namespace

void ReadEightBytes(const KeyColumn& column, int64_t byte, uint64_t* out) {
  const bool plain = column.length() > 0 && !column.may_have_nulls();
  if (plain && column.kind() == KeyKind::kBinary) {
    ReadAll(TextOf<int32_t>(column), byte, out);
  } else if (plain && column.kind() == KeyKind::kLargeBinary) {
    ReadAll(TextOf<int64_t>(column), byte, out);
  } else {
    column.VisitBytes([&](int64_t i, std::string_view bytes) { out[i] = EightBytes(bytes, byte); });
  }
}

LengthBounds FindLengthBounds(const KeyColumn& column) {
  const bool plain = column.length() > 0 && !column.may_have_nulls();
  if (plain && column.kind() == KeyKind::kBinary) {
    return FindAll(column.data()->GetValues<int32_t>(1), column.length());
  }
  if (plain && column.kind() == KeyKind::kLargeBinary) {
    return FindAll(column.data()->GetValues<int64_t>(1), column.length());
  }
  LengthBounds bounds;
  column.VisitBytes([&](int64_t, std::string_view bytes) {
    const auto length = static_cast<int64_t>(bytes.size());
    bounds.least = std::min(bounds.least, length);
    bounds.most = std::max(bounds.most, length);
    ++bounds.values;
  });
  return bounds;
}

}  // namespace cylon
