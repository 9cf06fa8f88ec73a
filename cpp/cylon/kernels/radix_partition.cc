// Rows dealt into cache-sized partitions, column by column.
#include "cylon/kernels/radix_partition.h"

#include <arrow/util/bit_util.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "cylon/kernels/hash.h"
#include "cylon/kernels/hash_columns.h"
#include "cylon/kernels/radix_scatter.h"

namespace cylon {

namespace {

constexpr int kMostBits = 11;
constexpr int64_t kPartitionBytes = 256 << 10;

/// Rows that are handled at a time.
constexpr int64_t kBlockRows = KeyWords::kBlockRows;

/// Columns that are dealt in one loop: the lines of three take 96 KiB at 512 partitions, which the second-level cache
/// serves well.
constexpr size_t kColumnsTogether = 3;

/// Below this a second thread costs more than it saves.
constexpr int64_t kRowsPerThread = 1 << 16;

struct Bytes16 {
  uint64_t words[2];
};

/// Bytes of a value as it is carried; 0 where it cannot be.
int CarriedWidth(const arrow::DataType& type) {
  if (type.id() == arrow::Type::BOOL) {
    return 1;
  }
  const bool plain = arrow::is_primitive(type.id()) || arrow::is_decimal(type.id()) ||
                     type.id() == arrow::Type::FIXED_SIZE_BINARY || arrow::is_interval(type.id());
  const int width = plain ? type.byte_width() : 0;
  return width == 1 || width == 2 || width == 4 || width == 8 || width == 16 ? width : 0;
}

/// One byte for each of `rows` bits from `offset` on; ones where there are no bits.
const void* UnpackBits(const uint8_t* bits, int64_t offset, int64_t rows, std::vector<uint64_t>* scratch) {
  scratch->resize((rows + 7) / 8);
  auto* out = static_cast<uint8_t*>(static_cast<void*>(scratch->data()));
  for (int64_t i = 0; i < rows; ++i) {
    out[i] = bits == nullptr ? 1 : static_cast<uint8_t>(arrow::bit_util::GetBit(bits, offset + i));
  }
  return out;
}

}  // namespace

bool CanCarry(const arrow::DataType& type) { return CarriedWidth(type) != 0; }

int RadixBits(int64_t rows, int64_t row_bytes) {
  const int64_t partitions = rows * std::max<int64_t>(row_bytes, 1) / kPartitionBytes;
  return std::clamp(static_cast<int>(std::bit_width(static_cast<uint64_t>(partitions))), 0, kMostBits);
}

arrow::Result<std::unique_ptr<RadixPartitions>> RadixPartitions::Make(const std::shared_ptr<Resources>& resources,
                                                                      const Table& table, const RadixPlan& plan) {
  if (table.num_rows() >= std::numeric_limits<uint32_t>::max()) {
    return arrow::Status::CapacityError(table.num_rows(),
                                        " rows were to be partitioned at once, which takes fewer than ",
                                        std::numeric_limits<uint32_t>::max(),
                                        "; use more ranks, or a smaller CYLON_MEMORY, so that they are cut before");
  }
  std::unique_ptr<RadixPartitions> result(new RadixPartitions(resources, table.schema(), plan));
  const KeyForm form = plan.layout.form();
  result->plan_.row_numbers = plan.row_numbers || form == KeyForm::kHash;
  ARROW_RETURN_NOT_OK(result->Pin(table));
  const int64_t rows = table.num_rows();
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Buffer> partition_of,
                        arrow::AllocateBuffer(rows * 2, resources->memory()));
  // Words are kept only where they are dear: those of values are read again where they are needed.
  const bool keeps = form == KeyForm::kHash || plan.layout.packed();
  KeptWords kept;
  std::array<std::shared_ptr<arrow::Buffer>, 2> kept_buffers;
  for (int word = 0; keeps && word < (form == KeyForm::kTwoWords ? 2 : 1); ++word) {
    ARROW_ASSIGN_OR_RAISE(kept_buffers[word], arrow::AllocateBuffer(rows * 8, resources->memory()));
    kept.words[word] = kept_buffers[word]->mutable_data_as<uint64_t>();
  }
  ARROW_RETURN_NOT_OK(result->FindPartitions(partition_of->mutable_data_as<uint16_t>(), kept));
  result->PlaceRanges();
  ARROW_RETURN_NOT_OK(result->AddKeys(kept));
  for (int column : plan.carried) {
    ARROW_RETURN_NOT_OK(result->AddColumn(column));
  }
  ARROW_RETURN_NOT_OK(result->RunAllTasks(partition_of->data_as<uint16_t>()));
  return result;
}

arrow::Status RadixPartitions::Pin(const Table& table) {
  const int64_t most_threads = std::max<int64_t>(1, table.num_rows() / kRowsPerThread);
  const int64_t threads = std::min<int64_t>(resources_->arena().threads(), most_threads);
  const int64_t share = (table.num_rows() + threads - 1) / threads;
  // kHash keeps encoded keys by piece, so pieces stay small there.
  const int64_t longest =
      form() == KeyForm::kHash ? resources_->options().morsel_rows : std::numeric_limits<int64_t>::max();
  int64_t first_row = 0;
  for (const auto& chunk : table.chunks()) {
    ARROW_ASSIGN_OR_RAISE(auto batch, chunk->Pin());
    for (int64_t offset = 0; offset < batch->num_rows();) {
      const int64_t range_end = (first_row / share + 1) * share;
      const int64_t length = std::min({batch->num_rows() - offset, longest, range_end - first_row});
      pieces_.push_back({batches_.size(), offset, length, first_row});
      piece_locator_.AddBatch(length);
      offset += length;
      first_row += length;
      if (first_row == range_end) {
        range_ends_.push_back(pieces_.size());
      }
    }
    locator_.AddBatch(batch->num_rows());
    batches_.push_back(std::move(batch));
  }
  if (range_ends_.empty() || range_ends_.back() != pieces_.size()) {
    range_ends_.push_back(pieces_.size());
  }
  return arrow::Status::OK();
}

arrow::Status RadixPartitions::FindPartitions(uint16_t* partition_of, const KeptWords& kept) {
  const auto ranges = static_cast<int64_t>(range_ends_.size());
  positions_.assign(ranges, std::vector<uint64_t>(count() + 1, 0));
  key_batches_.resize(form() == KeyForm::kHash ? pieces_.size() : 0);
  return resources_->arena().ParallelFor(ranges, [&](int64_t range) {
    uint64_t* counts = positions_[range].data();
    for (size_t i = range == 0 ? 0 : range_ends_[range - 1]; i < range_ends_[range]; ++i) {
      const Piece& piece = pieces_[i];
      uint16_t* out = partition_of + piece.first_row;
      ARROW_RETURN_NOT_OK(form() == KeyForm::kHash
                              ? FindPartitionsByHash(piece, counts, out, kept.words[0] + piece.first_row)
                              : FindPartitionsOf(piece, counts, out, kept));
    }
    return arrow::Status::OK();
  });
}

arrow::Status RadixPartitions::FindPartitionsByHash(const Piece& piece, uint64_t* counts, uint16_t* partition_of,
                                                    uint64_t* hashes) {
  const uint64_t mask = count() - 1;
  const auto null_partition = static_cast<uint16_t>(count());
  const auto batch = batches_[piece.batch]->Slice(piece.offset, piece.length);
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*batch->schema(), plan_.keys));
  KeyBatch& keys = key_batches_[&piece - pieces_.data()];
  ARROW_ASSIGN_OR_RAISE(keys, encoder.Encode(resources_->memory(), *batch));
  for (int64_t i = 0; i < piece.length; ++i) {
    hashes[i] = keys.hashes[i];
    partition_of[i] = keys.IsNull(i) ? null_partition : static_cast<uint16_t>(hashes[i] & mask);
    ++counts[partition_of[i]];
  }
  keys.hashes = {};  // they are in `hashes` now
  return arrow::Status::OK();
}

arrow::Status RadixPartitions::FindPartitionsOf(const Piece& piece, uint64_t* counts, uint16_t* partition_of,
                                                const KeptWords& kept) {
  const uint64_t mask = count() - 1;
  const auto null_partition = static_cast<uint16_t>(count());
  const auto batch = batches_[piece.batch]->Slice(piece.offset, piece.length);
  ARROW_ASSIGN_OR_RAISE(auto words, KeyWords::Make(resources_->memory(), plan_.layout, *batch, plan_.keys));
  for (int64_t begin = 0; begin < piece.length; begin += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, piece.length - begin);
    const auto block = words.Read(begin, rows);
    uint16_t* out = partition_of + begin;
    if (form() == KeyForm::kTwoWords) {
      for (int64_t i = 0; i < rows; ++i) {
        out[i] = static_cast<uint16_t>(HashOfWords(block.first[i], block.second[i]) & mask);
      }
    } else {
      for (int64_t i = 0; i < rows; ++i) {
        out[i] = static_cast<uint16_t>(HashOfWord(block.first[i]) & mask);
      }
    }
    for (int64_t i = 0; block.valid != nullptr && i < rows; ++i) {
      out[i] = block.valid[i] == 0 ? null_partition : out[i];
    }
    for (int64_t i = 0; i < rows; ++i) {
      ++counts[out[i]];
    }
    for (int word = 0; word < 2; ++word) {
      if (kept.words[word] != nullptr) {
        std::copy_n(word == 0 ? block.first : block.second, rows, kept.words[word] + piece.first_row + begin);
      }
    }
  }
  return arrow::Status::OK();
}

void RadixPartitions::PlaceRanges() {
  uint64_t next = 0;
  starts_.reserve(count() + 2);
  for (int64_t p = 0; p <= count(); ++p) {
    starts_.push_back(static_cast<int64_t>(next));
    for (auto& range : positions_) {
      next += std::exchange(range[p], next);
    }
  }
  starts_.push_back(static_cast<int64_t>(next));
}

arrow::Result<uint8_t*> RadixPartitions::AddTask(int width, Load load) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(num_rows() * width, resources_->memory()));
  buffers_.push_back(std::move(buffer));
  tasks_[width].push_back({buffers_.back()->mutable_data(), std::move(load)});
  return buffers_.back()->mutable_data();
}

arrow::Status RadixPartitions::AddKeys(const KeptWords& kept) {
  const auto add_words = [&](size_t word) -> arrow::Result<uint64_t*> {
    Load load;
    if (const uint64_t* all = kept.words[word]; all != nullptr) {
      load = [all](const Piece& piece, int64_t begin, int64_t, auto*) { return all + piece.first_row + begin; };
    } else {
      std::vector<KeyColumn> columns;
      for (const auto& batch : batches_) {
        ARROW_ASSIGN_OR_RAISE(auto column,
                              KeyColumn::Make(resources_->memory(), batch->column_data(plan_.keys[word]), ""));
        columns.push_back(std::move(column));
      }
      load = [columns = std::move(columns)](const Piece& piece, int64_t begin, int64_t rows, auto* scratch) {
        return columns[piece.batch].Words(piece.offset + begin, rows, scratch);
      };
    }
    ARROW_ASSIGN_OR_RAISE(uint8_t* out, AddTask(8, std::move(load)));
    return static_cast<uint64_t*>(static_cast<void*>(out));
  };
  ARROW_ASSIGN_OR_RAISE(words_, add_words(0));
  if (form() == KeyForm::kTwoWords) {
    ARROW_ASSIGN_OR_RAISE(second_words_, add_words(1));
  }
  if (plan_.row_numbers) {
    ARROW_ASSIGN_OR_RAISE(uint8_t* numbers,
                          AddTask(4, [](const Piece& piece, int64_t begin, int64_t rows, auto* scratch) {
                            scratch->resize((rows + 1) / 2);
                            auto* out = static_cast<uint32_t*>(static_cast<void*>(scratch->data()));
                            std::iota(out, out + rows, static_cast<uint32_t>(piece.first_row + begin));
                            return out;
                          }));
    row_numbers_ = static_cast<uint32_t*>(static_cast<void*>(numbers));
  }
  return arrow::Status::OK();
}

arrow::Status RadixPartitions::AddColumn(int column) {
  CarriedColumn carried;
  carried.type = schema_->field(column)->type();
  carried.width = CarriedWidth(*carried.type);
  if (carried.width == 0) {
    return arrow::Status::Invalid("column '", schema_->field(column)->name(), "' of type ", carried.type->ToString(),
                                  " cannot be carried with its keys; only fixed widths of 1, 2, 4, 8 and 16 bytes can");
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> sources;
  bool nullable = false;
  for (const auto& batch : batches_) {
    sources.push_back(batch->column_data(column));
    nullable = nullable || sources.back()->GetNullCount() != 0;
  }
  const auto add_bits = [&](int buffer) {
    return AddTask(1, [sources, buffer](const Piece& piece, int64_t begin, int64_t rows, auto* scratch) {
      const auto& source = *sources[piece.batch];
      const uint8_t* bits = source.buffers[buffer] == nullptr ? nullptr : source.buffers[buffer]->data();
      return UnpackBits(bits, source.offset + piece.offset + begin, rows, scratch);
    });
  };
  if (AliasesWords(column)) {
    carried.values = buffers_[0]->data();
  } else if (carried.type->id() == arrow::Type::BOOL) {
    ARROW_ASSIGN_OR_RAISE(carried.values, add_bits(1));
  } else {
    const auto load = [sources, width = carried.width](const Piece& piece, int64_t begin, int64_t, auto*) {
      const auto& source = *sources[piece.batch];
      return source.buffers[1]->data() + (source.offset + piece.offset + begin) * width;
    };
    ARROW_ASSIGN_OR_RAISE(carried.values, AddTask(carried.width, load));
  }
  if (nullable) {
    ARROW_ASSIGN_OR_RAISE(carried.valid, add_bits(0));
  }
  columns_.push_back(std::move(carried));
  return arrow::Status::OK();
}

bool RadixPartitions::AliasesWords(int column) const {
  if (form() != KeyForm::kWord || plan_.layout.packed() || plan_.keys[0] != column) {
    return false;
  }
  const auto plain = KeyColumn::OfType(schema_->field(column)->type(), "");
  return plain.ok() && plain->words_are_values();
}

template <typename T, size_t N>
arrow::Status RadixPartitions::RunTasks(std::span<const Task> tasks, const uint16_t* partition_of) {
  std::array<T*, N> out;
  for (size_t k = 0; k < N; ++k) {
    out[k] = static_cast<T*>(static_cast<void*>(tasks[k].out));
  }
  return resources_->arena().ParallelFor(static_cast<int64_t>(range_ends_.size()), [&](int64_t range) {
    RadixScatter<T, N> scatter(out, positions_[range]);
    std::array<std::vector<uint64_t>, N> scratch;
    for (size_t i = range == 0 ? 0 : range_ends_[range - 1]; i < range_ends_[range]; ++i) {
      const Piece& piece = pieces_[i];
      for (int64_t begin = 0; begin < piece.length; begin += kBlockRows) {
        const int64_t rows = std::min(kBlockRows, piece.length - begin);
        std::array<const T*, N> values;
        for (size_t k = 0; k < N; ++k) {
          values[k] = static_cast<const T*>(tasks[k].load(piece, begin, rows, &scratch[k]));
        }
        scatter.Add(partition_of + piece.first_row + begin, values, rows);
      }
    }
    scatter.Finish();
    return arrow::Status::OK();
  });
}

template <typename T>
arrow::Status RadixPartitions::RunTasksOfWidth(const uint16_t* partition_of) {
  const std::span<const Task> tasks = tasks_[sizeof(T)];
  for (size_t begin = 0; begin < tasks.size(); begin += kColumnsTogether) {
    const auto some = tasks.subspan(begin, std::min(kColumnsTogether, tasks.size() - begin));
    ARROW_RETURN_NOT_OK(some.size() == 1   ? (RunTasks<T, 1>(some, partition_of))
                        : some.size() == 2 ? (RunTasks<T, 2>(some, partition_of))
                                           : (RunTasks<T, 3>(some, partition_of)));
  }
  return arrow::Status::OK();
}

arrow::Status RadixPartitions::RunAllTasks(const uint16_t* partition_of) {
  ARROW_RETURN_NOT_OK(RunTasksOfWidth<uint8_t>(partition_of));
  ARROW_RETURN_NOT_OK(RunTasksOfWidth<uint16_t>(partition_of));
  ARROW_RETURN_NOT_OK(RunTasksOfWidth<uint32_t>(partition_of));
  ARROW_RETURN_NOT_OK(RunTasksOfWidth<uint64_t>(partition_of));
  ARROW_RETURN_NOT_OK(RunTasksOfWidth<Bytes16>(partition_of));
  tasks_.clear();
  if (form() != KeyForm::kHash && !plan_.layout.packed()) {
    std::fill(words_ + begin(count()), words_ + num_rows(), 0);
  }
  return arrow::Status::OK();
}

uint64_t RadixPartitions::HashAt(int64_t place) const {
  switch (form()) {
    case KeyForm::kWord:
      return HashOfWord(words_[place]);
    case KeyForm::kTwoWords:
      return HashOfWords(words_[place], second_words_[place]);
    default:
      return words_[place];
  }
}

std::string_view RadixPartitions::KeyBytes(uint32_t row, bool* null) const {
  uint32_t piece;
  int64_t position;
  piece_locator_.Locate(row, &piece, &position);
  const KeyBatch& keys = key_batches_[piece];
  *null = keys.IsNull(position);
  const auto* bytes = static_cast<const char*>(static_cast<const void*>(keys.bytes.data()));
  if (!keys.offsets.empty()) {
    return {bytes + keys.offsets[position], static_cast<size_t>(keys.offsets[position + 1] - keys.offsets[position])};
  }
  // Empty where the hash is the key.
  const size_t stride = keys.bytes.size() / keys.num_rows;
  return {bytes + position * stride, stride};
}

bool RadixPartitions::SameKey(uint32_t row, const RadixPartitions& other, uint32_t other_row) const {
  bool null = false;
  bool other_null = false;
  const auto key = KeyBytes(row, &null);
  return key == other.KeyBytes(other_row, &other_null) && null == other_null;
}

}  // namespace cylon
