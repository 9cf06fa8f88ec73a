// Answers to rows that were sent.
#include "cylon/ops/unique_marks.h"

#include <arrow/util/bit_util.h>

#include <cstring>
#include <optional>

#include "cylon/base/error.h"
#include "cylon/exchange/exchange.h"

namespace cylon::internal {

namespace {

/// A bit for each of `bytes`, which are 0 or 1.
arrow::Result<std::shared_ptr<arrow::Buffer>> PackBits(arrow::MemoryPool* pool, const arrow::Buffer& bytes) {
  const int64_t count = bytes.size();
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits,
                        arrow::AllocateBuffer(arrow::bit_util::BytesForBits(count), pool));
  uint8_t* out = bits->mutable_data();
  int64_t done = 0;
  for (; done + 8 <= count; done += 8) {
    uint64_t eight = 0;
    std::memcpy(&eight, bytes.data() + done, 8);
    // Byte k goes to bit 56 + k, and no two terms meet in a bit.
    *out++ = static_cast<uint8_t>(eight * 0x0102040810204080u >> 56);
  }
  if (done < count) {
    *out = 0;
    for (int k = 0; done < count; ++done, ++k) {
      *out |= static_cast<uint8_t>(bytes.data()[done] << k);
    }
  }
  return bits;
}

/// A byte, 0 or 1, for each bit of `bits`.
void UnpackBits(const arrow::ArrayData& bits, uint8_t* out) {
  const uint8_t* in = bits.buffers[1]->data();
  int64_t done = 0;
  for (; bits.offset % 8 == 0 && done + 8 <= bits.length; done += 8) {
    // Each byte keeps its own bit of the eight, which then becomes the highest one.
    const uint64_t own = in[(bits.offset + done) / 8] * 0x0101010101010101u & 0x8040201008040201u;
    const uint64_t ones = (own + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
    std::memcpy(out + done, &ones, 8);
  }
  for (; done < bits.length; ++done) {
    out[done] = static_cast<uint8_t>(arrow::bit_util::GetBit(in, bits.offset + done));
  }
}

}  // namespace

arrow::Result<Buffers> ExchangeMarks(Context& context, const std::string& what,
                                     const std::function<arrow::Result<Buffers>()>& make,
                                     const std::vector<int64_t>& expected) {
  const auto& resources = context.resources();
  const auto schema = arrow::schema({arrow::field("kept", arrow::boolean(), false)});
  bool made = false;
  const auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
    if (std::exchange(made, true)) {
      return std::nullopt;
    }
    ARROW_ASSIGN_OR_RAISE(const auto marks, make());
    std::vector<Outgoing> out;
    for (Rank to = 0; to < context.world_size(); ++to) {
      ARROW_ASSIGN_OR_RAISE(auto bits, PackBits(resources->memory(), *marks[to]));
      const int64_t count = marks[to]->size();
      out.push_back({to, arrow::RecordBatch::Make(schema, count,
                                                  {std::make_shared<arrow::BooleanArray>(count, std::move(bits))})});
    }
    return out;
  };
  Buffers came(expected.size());
  const auto allocate = [&](size_t rank) -> arrow::Status {
    if (came[rank] == nullptr) {
      ARROW_ASSIGN_OR_RAISE(came[rank], arrow::AllocateBuffer(expected[rank] + 1, resources->memory()));
      came[rank]->mutable_data()[expected[rank]] = 0;
    }
    return arrow::Status::OK();
  };
  std::vector<int64_t> filled(expected.size(), 0);
  const auto wrong = [&](Rank from, int64_t rows) {
    return ProtocolError("in '" + what + "' rank " + std::to_string(from) + " sent answers for " +
                             std::to_string(rows) + " rows; expected " + std::to_string(expected[from]) +
                             "; all ranks must run the same version of Cylon",
                         from);
  };
  const auto target = [&](const Incoming& incoming) -> arrow::Status {
    const int64_t rows = incoming.batch->num_rows();
    int64_t& end = filled[incoming.from];
    if (rows > expected[incoming.from] - end) {
      return wrong(incoming.from, end + rows);
    }
    ARROW_RETURN_NOT_OK(allocate(incoming.from));
    UnpackBits(*incoming.batch->column_data(0), came[incoming.from]->mutable_data() + end);
    end += rows;
    return arrow::Status::OK();
  };
  ARROW_RETURN_NOT_OK(Exchange(context, what, schema, source, target).status());
  for (Rank rank = 0; rank < context.world_size(); ++rank) {
    if (filled[rank] != expected[rank]) {
      return wrong(rank, filled[rank]);
    }
    ARROW_RETURN_NOT_OK(allocate(rank));
  }
  return came;
}

}  // namespace cylon::internal
