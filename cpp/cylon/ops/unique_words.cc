// Which rows are unique by one column whose values are words.
#include "cylon/ops/unique_words.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <numeric>
#include <optional>

#include "cylon/base/error.h"
#include "cylon/exchange/exchange.h"
#include "cylon/kernels/distinct_words.h"
#include "cylon/kernels/hash_columns.h"
#include "cylon/kernels/key_column.h"
#include "cylon/kernels/radix_partition.h"
#include "cylon/ops/unique_marks.h"

namespace cylon::internal {

namespace {

/// A word costs itself and two slots in the cache.
constexpr int64_t kCacheBytesPerWord = 24;
constexpr int kMostBits = 11;
constexpr int64_t kMostPartitionRows = 1 << 16;  // 1 MiB of slots: a core's second-level cache, or the third
/// Partitions for each rank, at least, as a power of two: what a rank has more than another is then at most a
/// sixteenth.
constexpr int kRankBits = 4;

/// In memory: the word dealt, its partition while it is dealt, its mark; and the same of what comes.
constexpr int64_t kBytesPerRow = 12;

/// Only words that can be kept are sent where they are at most this share of a rank's. Finding them takes as long as
/// what it spares the other rank, beside 8 bytes on the network.
constexpr double kThinShare = 0.6;
/// Every so many partitions one is looked at: rows of one key are all in one partition, so that it tells of all rows.
constexpr int64_t kSampleStride = 64;
/// A partition with so many times the average rows has a key that comes too often for the rank that it goes to.
constexpr int64_t kHeavyRatio = 2;

/// Rows that are hashed at a time; 32 KiB of words stay in the first-level cache.
constexpr int64_t kBlockRows = 4096;

const std::shared_ptr<arrow::Schema>& WordSchema() {
  static const auto schema = arrow::schema({arrow::field("word", arrow::uint64(), false)});
  return schema;
}

std::shared_ptr<arrow::RecordBatch> WordBatch(std::shared_ptr<arrow::Buffer> words) {
  const int64_t count = words->size() / 8;
  return arrow::RecordBatch::Make(WordSchema(), count, {std::make_shared<arrow::UInt64Array>(count, std::move(words))});
}

/// Which rank gets which partitions: even ranges, and the last one the rows whose key is null.
struct Owners {
  int bits = 0;
  int ranks = 1;

  int64_t count() const { return int64_t{1} << bits; }
  int64_t begin(Rank rank) const { return ((static_cast<int64_t>(rank) << bits) + ranks - 1) / ranks; }
  int64_t end(Rank rank) const { return rank + 1 == ranks ? count() + 1 : begin(rank + 1); }
};

/// Runs task(i) for i in [0, count) on the arena's threads, each with a state of its own.
template <typename MakeState, typename Task>
arrow::Status ForEach(Resources& resources, int64_t count, const MakeState& make_state, const Task& task) {
  std::atomic<int64_t> next{0};
  return resources.arena().ParallelFor(std::min<int64_t>(resources.arena().threads(), count), [&](int64_t) {
    auto state = make_state();
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      task(state, i);
    }
    return arrow::Status::OK();
  });
}

/// Some of the dealt words, which live as long as this.
class DealtWords : public arrow::Buffer {
 public:
  DealtWords(std::shared_ptr<const RadixPartitions> dealt, int64_t begin, int64_t count)
      : arrow::Buffer(static_cast<const uint8_t*>(static_cast<const void*>(dealt->words() + begin)), count * 8),
        dealt_(std::move(dealt)) {}

 private:
  std::shared_ptr<const RadixPartitions> dealt_;
};

/// This rank's words, dealt, and what becomes of its rows.
class Sender {
 public:
  Sender(std::shared_ptr<Resources> resources, Owners owners, Keep keep)
      : resources_(std::move(resources)), owners_(owners), keep_(keep) {}

  arrow::Status Deal(const Table& table, int key) {
    ARROW_ASSIGN_OR_RAISE(const auto column, table.SelectColumns({key}));
    RadixPlan plan;
    plan.keys = {0};
    const KeyLayout::Side side{&column, &plan.keys};
    ARROW_ASSIGN_OR_RAISE(plan.layout, KeyLayout::Plain(std::span(&side, 1)));
    plan.bits = owners_.bits;
    ARROW_ASSIGN_OR_RAISE(dealt_, RadixPartitions::Make(resources_, column, plan));
    return ThinOut();
  }

  /// For each rank: how many words of each of its partitions there are, then the words.
  arrow::Result<std::vector<Outgoing>> Batches() {
    std::vector<Outgoing> out;
    for (Rank to = 0; to < owners_.ranks; ++to) {
      const int64_t end = owners_.end(to);
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> sizes,
                            arrow::AllocateBuffer((end - owners_.begin(to)) * 8, resources_->memory()));
      int64_t total = 0;
      for (int64_t p = owners_.begin(to); p < end; ++p) {
        const int64_t sent = SentRows(p);
        sizes->mutable_data_as<int64_t>()[p - owners_.begin(to)] = sent;
        total += sent;
      }
      sent_.push_back(total);
      out.push_back({to, WordBatch(std::move(sizes))});
      for (int64_t p = owners_.begin(to); p < end;) {
        int64_t stretch_end = p;
        while (stretch_end < end && thinned_[stretch_end] == thinned_[p]) {
          ++stretch_end;
        }
        ARROW_ASSIGN_OR_RAISE(auto words, thinned_[p] != 0 ? ThinnedWords(p, stretch_end) : AllWords(p, stretch_end));
        out.push_back({to, WordBatch(std::move(words))});
        p = stretch_end;
      }
    }
    return out;
  }

  /// How many words each rank was sent.
  const std::vector<int64_t>& sent() const { return sent_; }

  /// What the answers, by rank and in the order of what was sent, say of each row.
  arrow::Result<std::shared_ptr<arrow::Buffer>> RowMarks(const Buffers& answers);

 private:
  /// Rows of one batch, as a thread takes them.
  struct Piece {
    KeyColumn column;
    int64_t first_row = 0;
  };

  /// Chooses the partitions of which not all words are sent, and the words that are.
  arrow::Status ThinOut();
  arrow::Status ThinOut(const std::vector<int64_t>& partitions);

  const uint8_t* sent_of(int64_t partition) const { return thin_->data() + dealt_->begin(partition); }
  int64_t SentRows(int64_t partition) const {
    const int64_t rows = dealt_->rows(partition);
    return thinned_[partition] == 0 ? rows
                                    : std::accumulate(sent_of(partition), sent_of(partition) + rows, int64_t{0},
                                                      [](int64_t sum, uint8_t sent) { return sum + sent; });
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> AllWords(int64_t begin, int64_t end) {
    return std::make_shared<DealtWords>(dealt_, dealt_->begin(begin), dealt_->begin(end) - dealt_->begin(begin));
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> ThinnedWords(int64_t begin, int64_t end);

  arrow::Result<std::vector<std::vector<Piece>>> Ranges() const;
  /// visit(first row, partitions, rows) for each block of a range.
  template <typename Visit>
  void ForEachBlock(const std::vector<Piece>& range, const Visit& visit) const;

  std::shared_ptr<Resources> resources_;
  Owners owners_;
  Keep keep_;
  std::shared_ptr<const RadixPartitions> dealt_;
  std::vector<uint8_t> thinned_;         // by partition
  std::shared_ptr<arrow::Buffer> thin_;  // by place, in thinned partitions: whether the word is sent
  std::vector<int64_t> sent_;            // by rank
};

arrow::Status Sender::ThinOut() {
  const int64_t partitions = owners_.count() + 1;
  thinned_.assign(partitions, 0);
  if (dealt_->num_rows() == 0) {
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(thin_, arrow::AllocateBuffer(dealt_->num_rows(), resources_->memory()));
  std::vector<int64_t> chosen;
  for (int64_t p = 0; p < owners_.count(); p += kSampleStride) {
    chosen.push_back(p);
  }
  ARROW_RETURN_NOT_OK(ThinOut(chosen));
  int64_t rows = 0;
  int64_t kept = 0;
  for (const int64_t p : chosen) {
    rows += dealt_->rows(p);
    kept += SentRows(p);
  }
  const bool all = static_cast<double>(kept) <= kThinShare * static_cast<double>(rows);
  const int64_t heavy = kHeavyRatio * (dealt_->num_rows() / owners_.count() + 1);
  chosen.clear();
  for (int64_t p = 0; p < partitions; ++p) {
    if (thinned_[p] == 0 && (all || dealt_->rows(p) > heavy)) {
      chosen.push_back(p);
    }
  }
  return ThinOut(chosen);
}

arrow::Status Sender::ThinOut(const std::vector<int64_t>& partitions) {
  struct Tables {
    DistinctWords one;
    DistinctWords last;
    std::vector<uint8_t> marks;
  };
  for (const int64_t p : partitions) {
    thinned_[p] = 1;
  }
  // Of keys that come more than once, two say so.
  const Keep keep = keep_ == Keep::kLast ? Keep::kLast : Keep::kFirst;
  return ForEach(
      *resources_, static_cast<int64_t>(partitions.size()),
      [&] { return Tables{DistinctWords(keep, owners_.bits), DistinctWords(Keep::kLast, owners_.bits), {}}; },
      [&](Tables& tables, int64_t i) {
        const int64_t begin = dealt_->begin(partitions[i]);
        WordRun run{dealt_->words() + begin, dealt_->rows(partitions[i]), thin_->mutable_data() + begin};
        tables.one.Mark(std::span(&run, 1));
        if (keep_ == Keep::kNone) {
          tables.marks.resize(run.count);
          const uint8_t* first = std::exchange(run.kept, tables.marks.data());
          tables.last.Mark(std::span(&run, 1));
          std::transform(first, first + run.count, run.kept, thin_->mutable_data() + begin,
                         [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a | b); });
        }
      });
}

arrow::Result<std::shared_ptr<arrow::Buffer>> Sender::ThinnedWords(int64_t begin, int64_t end) {
  int64_t rows = 0;
  for (int64_t p = begin; p < end; ++p) {
    rows += SentRows(p);
  }
  // One more: every word is written where the next that is sent belongs.
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> words,
                        arrow::AllocateBuffer((rows + 1) * 8, resources_->memory()));
  auto* out = words->mutable_data_as<uint64_t>();
  for (int64_t place = dealt_->begin(begin); place < dealt_->begin(end); ++place) {
    *out = dealt_->words()[place];
    out += thin_->data()[place];
  }
  return arrow::SliceBuffer(std::move(words), 0, rows * 8);
}

arrow::Result<std::vector<std::vector<Sender::Piece>>> Sender::Ranges() const {
  const int64_t rows = dealt_->num_rows();
  const int64_t threads = std::clamp<int64_t>(rows / kBlockRows, 1, resources_->arena().threads());
  const int64_t share = (rows + threads - 1) / threads;
  std::vector<std::vector<Piece>> ranges(threads);
  int64_t first_row = 0;
  for (const auto& batch : dealt_->batches()) {
    ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::Make(resources_->memory(), batch->column_data(0), ""));
    for (int64_t offset = 0; offset < batch->num_rows();) {
      const int64_t range = first_row / share;
      const int64_t length = std::min(batch->num_rows() - offset, (range + 1) * share - first_row);
      ranges[range].push_back({column.Slice(offset, length), first_row});
      offset += length;
      first_row += length;
    }
  }
  return ranges;
}

template <typename Visit>
void Sender::ForEachBlock(const std::vector<Piece>& range, const Visit& visit) const {
  std::vector<uint64_t> words(kBlockRows);
  std::vector<uint16_t> partitions(kBlockRows);
  const uint64_t mask = static_cast<uint64_t>(owners_.count()) - 1;
  const auto null_partition = static_cast<uint16_t>(owners_.count());
  for (const Piece& piece : range) {
    for (int64_t begin = 0; begin < piece.column.length(); begin += kBlockRows) {
      const int64_t rows = std::min(kBlockRows, piece.column.length() - begin);
      const auto block = piece.column.Slice(begin, rows);
      block.LoadWords(words.data());
      for (int64_t i = 0; i < rows; ++i) {
        partitions[i] = static_cast<uint16_t>(HashOfWord(words[i]) & mask);
      }
      if (block.may_have_nulls()) {
        for (int64_t i = 0; i < rows; ++i) {
          partitions[i] = block.IsNull(i) ? null_partition : partitions[i];
        }
      }
      visit(piece.first_row + begin, partitions.data(), rows);
    }
  }
}

arrow::Result<std::shared_ptr<arrow::Buffer>> Sender::RowMarks(const Buffers& answers) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> kept,
                        arrow::AllocateBuffer(dealt_->num_rows(), resources_->memory()));
  // Where the marks of each partition's rows are.
  std::vector<const uint8_t*> marks(owners_.count() + 1);
  for (Rank rank = 0; rank < owners_.ranks; ++rank) {
    const uint8_t* answer = answers[rank]->data();
    for (int64_t p = owners_.begin(rank); p < owners_.end(rank); ++p) {
      if (thinned_[p] == 0) {
        marks[p] = answer;
        answer += dealt_->rows(p);
        continue;
      }
      uint8_t* mark = thin_->mutable_data() + dealt_->begin(p);
      marks[p] = mark;
      for (const uint8_t* end = mark + dealt_->rows(p); mark < end; ++mark) {
        const uint8_t sent = *mark;
        *mark = sent & *answer;
        answer += sent;
      }
    }
  }
  // A partition's rows lie in their order, so that its marks are read one after another. Several threads first count
  // what each will read.
  ARROW_ASSIGN_OR_RAISE(const auto ranges, Ranges());
  const auto count = static_cast<int64_t>(ranges.size());
  std::vector<std::vector<const uint8_t*>> next(count, marks);
  if (count > 1) {
    std::vector<std::vector<int64_t>> counts(count, std::vector<int64_t>(marks.size(), 0));
    ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(count - 1, [&](int64_t range) {
      ForEachBlock(ranges[range], [&](int64_t, const uint16_t* partitions, int64_t rows) {
        for (int64_t i = 0; i < rows; ++i) {
          ++counts[range][partitions[i]];
        }
      });
      return arrow::Status::OK();
    }));
    for (int64_t range = 1; range < count; ++range) {
      for (size_t p = 0; p < marks.size(); ++p) {
        next[range][p] = next[range - 1][p] + counts[range - 1][p];
      }
    }
  }
  ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(count, [&](int64_t range) {
    const uint8_t** from = next[range].data();
    ForEachBlock(ranges[range], [&](int64_t first_row, const uint16_t* partitions, int64_t rows) {
      uint8_t* out = kept->mutable_data() + first_row;
      for (int64_t i = 0; i < rows; ++i) {
        out[i] = *from[partitions[i]]++;
      }
    });
    return arrow::Status::OK();
  }));
  return kept;
}

/// The words that came, of the partitions that are this rank's.
class Receiver {
 public:
  Receiver(std::shared_ptr<Resources> resources, const Owners& owners, Rank rank, Keep keep)
      : resources_(std::move(resources)),
        bits_(owners.bits),
        partitions_(owners.end(rank) - owners.begin(rank)),
        keep_(keep),
        sources_(owners.ranks) {}

  arrow::Status Take(const Incoming& incoming) {
    Source& source = sources_[incoming.from];
    const auto& column = *incoming.batch->column_data(0);
    std::span words(column.GetValues<uint64_t>(1), static_cast<size_t>(column.length));
    const size_t sizes = std::min(words.size(), static_cast<size_t>(partitions_) - source.sizes.size());
    source.sizes.insert(source.sizes.end(), words.begin(), words.begin() + static_cast<int64_t>(sizes));
    words = words.subspan(sizes);
    if (!words.empty()) {
      source.pieces.push_back({incoming.batch, words, source.count});
      source.count += static_cast<int64_t>(words.size());
    }
    return arrow::Status::OK();
  }

  /// A byte for each word that came, by rank.
  arrow::Result<Buffers> Marks() {
    Buffers marks;
    for (size_t rank = 0; rank < sources_.size(); ++rank) {
      Source& source = sources_[rank];
      source.starts = {0};
      for (const uint64_t size : source.sizes) {
        source.starts.push_back(source.starts.back() + static_cast<int64_t>(size));
      }
      if (static_cast<int64_t>(source.sizes.size()) != partitions_ || source.starts.back() != source.count) {
        return ProtocolError("rank " + std::to_string(rank) + " sent " + std::to_string(source.count) +
                                 " keys to be compared, and said that they are " +
                                 std::to_string(source.starts.back()) + " in " + std::to_string(source.sizes.size()) +
                                 " partitions; expected " + std::to_string(partitions_) +
                                 " partitions; all ranks must run the same version of Cylon",
                             static_cast<Rank>(rank));
      }
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes,
                            arrow::AllocateBuffer(source.count, resources_->memory()));
      marks.push_back(std::move(bytes));
    }
    struct State {
      DistinctWords table;
      std::vector<WordRun> runs;
    };
    ARROW_RETURN_NOT_OK(ForEach(
        *resources_, partitions_, [&] { return State{DistinctWords(keep_, bits_), {}}; },
        [&](State& state, int64_t partition) {
          state.runs.clear();
          for (size_t rank = 0; rank < sources_.size(); ++rank) {
            AddRuns(sources_[rank], partition, marks[rank]->mutable_data(), &state.runs);
          }
          state.table.Mark(state.runs);
        }));
    return marks;
  }

 private:
  struct Piece {
    std::shared_ptr<arrow::RecordBatch> batch;  // holds them
    std::span<const uint64_t> words;
    int64_t first = 0;  // among those of the source
  };
  struct Source {
    std::vector<uint64_t> sizes;  // by partition
    std::vector<int64_t> starts;
    std::vector<Piece> pieces;
    int64_t count = 0;
  };

  /// A partition's words lie in one piece, or in a few.
  static void AddRuns(const Source& source, int64_t partition, uint8_t* marks, std::vector<WordRun>* runs) {
    int64_t begin = source.starts[partition];
    const int64_t end = source.starts[partition + 1];
    auto piece = std::upper_bound(source.pieces.begin(), source.pieces.end(), begin,
                                  [](int64_t place, const Piece& p) { return place < p.first; });
    for (; begin < end; ++piece) {
      const Piece& holds = *std::prev(piece);
      const int64_t offset = begin - holds.first;
      const int64_t count = std::min(end - begin, static_cast<int64_t>(holds.words.size()) - offset);
      runs->push_back({holds.words.data() + offset, count, marks + begin});
      begin += count;
    }
  }

  std::shared_ptr<Resources> resources_;
  int bits_;
  int64_t partitions_;
  Keep keep_;
  std::vector<Source> sources_;
};

int64_t TotalRowsOf(const std::vector<WordsShare>& ranks) {
  return std::accumulate(ranks.begin(), ranks.end(), int64_t{0},
                         [](int64_t sum, const WordsShare& share) { return sum + share.rows; });
}

}  // namespace

WordsShare WordsShareOf(Context& context, const Table& table) {
  const auto& resources = context.resources();
  const bool in_memory =
      resources->options().spill_always ||
      std::none_of(table.chunks().begin(), table.chunks().end(), [](const auto& chunk) { return chunk->spilled(); });
  return {table.num_rows(), in_memory, resources->memory()->limit()};
}

bool CanMarkUniqueWords(const Table& table, int key, const std::vector<WordsShare>& ranks) {
  const auto column = KeyColumn::OfType(table.schema()->field(key)->type(), "");
  const int64_t total = TotalRowsOf(ranks);
  const auto count = static_cast<int64_t>(ranks.size());
  return column.ok() && column->is_word() && total >> kMostBits <= kMostPartitionRows &&
         count << kRankBits <= int64_t{1} << kMostBits &&
         std::all_of(ranks.begin(), ranks.end(), [&](const WordsShare& share) {
           return share.in_memory && (share.rows + total / count) * kBytesPerRow <= share.budget / 4;
         });
}

arrow::Result<std::shared_ptr<arrow::Buffer>> MarkUniqueWords(Context& context, const Table& table, int key, Keep keep,
                                                              const std::vector<WordsShare>& ranks) {
  const auto count = static_cast<unsigned>(ranks.size());
  const int bits = std::max(RadixBits(TotalRowsOf(ranks), kCacheBytesPerWord),
                            static_cast<int>(std::bit_width(count - 1)) + kRankBits);
  const Owners owners{std::min(bits, kMostBits), context.world_size()};
  Sender sender(context.resources(), owners, keep);
  Receiver receiver(context.resources(), owners, context.rank(), keep);
  bool dealt = false;
  const auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
    if (std::exchange(dealt, true)) {
      return std::nullopt;
    }
    ARROW_RETURN_NOT_OK(sender.Deal(table, key));
    return sender.Batches();
  };
  ARROW_RETURN_NOT_OK(Exchange(context, "Unique, keys", WordSchema(), source, [&](const Incoming& incoming) {
                        return receiver.Take(incoming);
                      }).status());
  ARROW_ASSIGN_OR_RAISE(
      const auto answers,
      ExchangeMarks(context, "Unique, rows to keep", [&] { return receiver.Marks(); }, sender.sent()));
  return sender.RowMarks(answers);
}

}  // namespace cylon::internal
