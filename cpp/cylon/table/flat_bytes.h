/// A walk over the flatbuffers of Arrow's IPC metadata, whose own headers Arrow does not install.
#pragma once

#include <cstdint>
#include <cstring>

namespace cylon::internal {

/// Every step stays inside the bytes; a place that is not there is -1, and what is read there is zero.
///
///   table:  int32 distance back to its vtable, then fields
///   vtable: uint16 size, uint16 size of the table, uint16 place of field 0, of field 1, ... (0: not there)
///   vector: uint32 count, then elements
class FlatBytes {
 public:
  FlatBytes(const uint8_t* data, int64_t size) : data_(data), size_(size) {}

  template <typename T>
  T Get(int64_t place) const {
    T value{};
    if (Inside(place, sizeof(T))) {
      std::memcpy(&value, data_ + place, sizeof(T));
    }
    return value;
  }
  bool Inside(int64_t place, int64_t length) const { return place >= 0 && length <= size_ && place <= size_ - length; }
  /// Where the table, vector or string is that the offset at `place` points to.
  int64_t Follow(int64_t place) const { return Inside(place, 4) ? place + Get<uint32_t>(place) : -1; }
  /// Where `field` of the table at `table` is stored.
  int64_t Field(int64_t table, int field) const {
    if (!Inside(table, 4)) {
      return -1;
    }
    const int64_t vtable = table - Get<int32_t>(table);
    const int64_t entry = vtable + 4 + int64_t{2} * field;
    if (!Inside(vtable, 4) || entry + 2 > vtable + Get<uint16_t>(vtable)) {
      return -1;
    }
    const auto distance = Get<uint16_t>(entry);
    return distance == 0 ? -1 : table + distance;
  }

 private:
  const uint8_t* data_;
  int64_t size_;
};

// Places in Arrow's Message.fbs: a message's header is a schema, a record batch or a dictionary batch, and the last has
// a record batch in it.
inline constexpr int kMessageHeader = 2;
inline constexpr int kMessageBodyLength = 3;
inline constexpr int kDictionaryBatchData = 1;
inline constexpr int kDictionaryBatchIsDelta = 2;
inline constexpr int kRecordBatchBuffers = 2;
inline constexpr int kRecordBatchCompression = 3;
/// struct Buffer { offset: long; length: long; }
inline constexpr int64_t kBufferStruct = 16;

/// The header of the message; of a dictionary's, the record batch inside it too. -1 where there is none.
inline int64_t HeaderOf(const FlatBytes& bytes) { return bytes.Follow(bytes.Field(bytes.Follow(0), kMessageHeader)); }
inline int64_t DictionaryData(const FlatBytes& bytes, int64_t header) {
  return bytes.Follow(bytes.Field(header, kDictionaryBatchData));
}

}  // namespace cylon::internal
