// ReadCsv: files split among ranks by byte range.
#include "cylon/io/read_csv.h"

#include <algorithm>
#include <tuple>

#include "cylon/io/csv_blocks.h"
#include "cylon/io/csv_layout.h"
#include "cylon/io/shared_files.h"

namespace cylon {

namespace csv {

namespace {

/// Text that a thread parses at a time: large enough that setting up converters is little of the time, small enough
/// that its text, values and columns lie in the cache together.
constexpr int64_t kBlockBytes = 4 << 20;

/// A block's place in the files, and its rows as read last.
struct Piece {
  size_t segment = 0;
  int64_t begin = 0;
  int64_t end = 0;
  std::vector<Kind> kinds;
  std::shared_ptr<Chunk> chunk;
};

/// What one rank does between the agreements.
class RangeReader {
 public:
  RangeReader(Context& context, const CsvReadOptions& options, int64_t block_bytes)
      : resources_(context.resources()),
        rank_(context.rank()),
        world_size_(context.world_size()),
        options_(options),
        block_bytes_(block_bytes),
        scanner_(options.delimiter, options.quote, options.newlines_in_quotes) {}

  /// Opens the files of this rank's range, and the first that has a header.
  arrow::Status Open(const std::vector<io::FileSize>& files);
  /// Where the states lead over this rank's part of the file that its range ends in.
  arrow::Status Scan();
  int64_t last_file() const { return segments_.empty() ? -1 : segments_.back().file; }
  int64_t last_map() const { return Pack(maps_.empty() ? kIdentity : maps_.back()); }

  /// Puts the seams where lines begin. By rank, the file that its range ends in and the map over its part of it.
  arrow::Status FindSeams(const std::vector<std::vector<int64_t>>& maps_by_rank);
  /// Reads all rows. Kinds are promoted to hold every value of the range.
  arrow::Status ReadAll();
  /// Reads again what has other kinds. Kinds rise where a value cannot be read as them.
  arrow::Status ReadAgain(const std::vector<Kind>& kinds);

  int64_t columns_fingerprint() const;
  size_t num_columns() const { return converter_->columns().size(); }
  const std::vector<Kind>& kinds() const { return kinds_; }
  int64_t num_rows() const;
  Table Finish();

 private:
  arrow::Status ConvertPieces(const std::vector<Block>& blocks, std::span<Piece> pieces);

  std::shared_ptr<Resources> resources_;
  int rank_;
  int world_size_;
  const CsvReadOptions& options_;
  int64_t block_bytes_;
  LineScanner scanner_;

  std::vector<Segment> segments_;             // first as planned, after FindSeams whole lines
  std::vector<std::shared_ptr<File>> files_;  // by segment
  std::vector<std::vector<int>> positions_;   // by segment
  std::vector<StateMap> maps_;                // by segment
  std::unique_ptr<BlockConverter> converter_;
  std::vector<Kind> kinds_;
  std::vector<Piece> pieces_;
};

arrow::Status RangeReader::Open(const std::vector<io::FileSize>& list) {
  std::vector<int64_t> sizes;
  std::ranges::transform(list, std::back_inserter(sizes), [](const auto& file) { return file.bytes; });
  segments_ = PlanSegments(sizes, rank_, world_size_);

  auto open = [&](size_t index) -> arrow::Result<std::shared_ptr<File>> {
    ARROW_ASSIGN_OR_RAISE(auto file,
                          OpenFile(list[index].path, list[index].bytes, options_, scanner_, resources_->memory()));
    return std::make_shared<File>(std::move(file));
  };
  std::shared_ptr<File> first;
  for (size_t i = 0; i < list.size() && (first == nullptr || first->names.empty()); ++i) {
    ARROW_ASSIGN_OR_RAISE(first, open(i));
  }
  ARROW_ASSIGN_OR_RAISE(auto columns, PlanColumns(*first, options_));
  for (const auto& segment : segments_) {
    ARROW_ASSIGN_OR_RAISE(auto file, open(static_cast<size_t>(segment.file)));
    std::vector<int> positions;
    if (!file->names.empty()) {
      ARROW_ASSIGN_OR_RAISE(positions, MatchColumns(*first, *file, options_.has_header, columns));
    }
    files_.push_back(std::move(file));
    positions_.push_back(std::move(positions));
  }
  kinds_.assign(columns.size(), Kind::kNull);
  converter_ = std::make_unique<BlockConverter>(options_, std::move(columns), resources_->memory());
  return arrow::Status::OK();
}

int64_t RangeReader::columns_fingerprint() const {
  return io::Fingerprint(converter_->SchemaOf(kinds_)->ToString(/*show_metadata=*/false));
}

arrow::Status RangeReader::Scan() {
  maps_.assign(segments_.size(), kIdentity);
  if (!scanner_.quotes()) {
    return arrow::Status::OK();
  }
  return resources_->arena().ParallelFor(std::ssize(segments_), [&](int64_t i) -> arrow::Status {
    const File& file = *files_[i];
    const int64_t begin = std::max(segments_[i].begin, file.data_begin);
    ARROW_ASSIGN_OR_RAISE(maps_[i], ScanStates(file, scanner_, begin, segments_[i].end));
    return arrow::Status::OK();
  });
}

arrow::Status RangeReader::FindSeams(const std::vector<std::vector<int64_t>>& maps_by_rank) {
  for (size_t i = 0; i < segments_.size(); ++i) {
    const File& file = *files_[i];
    Segment& segment = segments_[i];
    const int64_t begin = std::max(segment.begin, file.data_begin);
    const int64_t end = std::max(segment.end, file.data_begin);
    State at_begin = State::kLineStart;
    State at_end = State::kLineStart;
    if (scanner_.quotes()) {
      // Ranks before this one whose ranges end in the same file have the text from its first line on.
      for (int rank = 0; rank < rank_; ++rank) {
        const auto& [last_file, last_map] = std::tie(maps_by_rank[rank][0], maps_by_rank[rank][1]);
        if (last_file == segment.file) {
          at_begin = Unpack(last_map)[static_cast<size_t>(at_begin)];
        }
      }
      at_end = maps_[i][static_cast<size_t>(at_begin)];
    } else if (file.data_begin < file.size) {
      ARROW_ASSIGN_OR_RAISE(at_begin, PlainStateAt(file, begin));
      ARROW_ASSIGN_OR_RAISE(at_end, PlainStateAt(file, end));
    }
    ARROW_ASSIGN_OR_RAISE(segment.begin, FindLineBegin(file, scanner_, begin, at_begin));
    ARROW_ASSIGN_OR_RAISE(segment.end, FindLineBegin(file, scanner_, end, at_end));
  }
  return arrow::Status::OK();
}

arrow::Status RangeReader::ConvertPieces(const std::vector<Block>& blocks, std::span<Piece> pieces) {
  const std::vector<Kind> expected = kinds_;
  ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(std::ssize(pieces), [&](int64_t i) -> arrow::Status {
    Piece& piece = pieces[i];
    ARROW_ASSIGN_OR_RAISE(auto parsed,
                          converter_->Convert(*files_[piece.segment], positions_[piece.segment], blocks[i], expected));
    piece.kinds = std::move(parsed.kinds);
    ARROW_ASSIGN_OR_RAISE(piece.chunk, Chunk::Make(resources_, std::move(parsed.batch), /*owned=*/true));
    return arrow::Status::OK();
  }));
  for (const auto& piece : pieces) {
    std::ranges::transform(kinds_, piece.kinds, kinds_.begin(), Promote);
  }
  return arrow::Status::OK();
}

arrow::Status RangeReader::ReadAll() {
  const auto wave = static_cast<size_t>(resources_->arena().threads());
  std::vector<Block> blocks;
  size_t done = 0;
  auto flush = [&] {
    const auto status = ConvertPieces(blocks, std::span(pieces_).subspan(done));
    done = pieces_.size();
    blocks.clear();
    return status;
  };
  for (size_t i = 0; i < segments_.size(); ++i) {
    BlockCutter cutter(files_[i].get(), &scanner_, segments_[i].begin, segments_[i].end, block_bytes_);
    while (true) {
      ARROW_ASSIGN_OR_RAISE(auto block, cutter.Next());
      if (!block.has_value()) {
        break;
      }
      pieces_.push_back({i, block->begin, block->end, {}, nullptr});
      blocks.push_back(*std::move(block));
      if (blocks.size() == wave) {
        ARROW_RETURN_NOT_OK(flush());
      }
    }
  }
  ARROW_RETURN_NOT_OK(flush());
  return ReadAgain(kinds_);
}

arrow::Status RangeReader::ReadAgain(const std::vector<Kind>& kinds) {
  kinds_ = kinds;
  // Text is read again, not the columns converted: "007" is 7 as a number and "007" as a string. A value that cannot
  // be read as the higher kind either raises it once more; the last kind, string, takes every value.
  while (true) {
    std::vector<Piece*> stale;
    for (auto& piece : pieces_) {
      if (piece.kinds != kinds_) {
        stale.push_back(&piece);
      }
    }
    if (stale.empty()) {
      return arrow::Status::OK();
    }
    std::vector<std::vector<Kind>> found(stale.size());
    const std::vector<Kind> expected = kinds_;
    ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(std::ssize(stale), [&](int64_t i) -> arrow::Status {
      Piece& piece = *stale[i];
      piece.chunk.reset();
      const File& file = *files_[piece.segment];
      Block block{piece.begin, piece.end, nullptr};
      ARROW_ASSIGN_OR_RAISE(block.text, ReadBytes(file, piece.begin, piece.end - piece.begin));
      ARROW_ASSIGN_OR_RAISE(auto parsed, converter_->Convert(file, positions_[piece.segment], block, expected));
      piece.kinds = std::move(parsed.kinds);
      ARROW_ASSIGN_OR_RAISE(piece.chunk, Chunk::Make(resources_, std::move(parsed.batch), /*owned=*/true));
      return arrow::Status::OK();
    }));
    for (const auto* piece : stale) {
      std::ranges::transform(kinds_, piece->kinds, kinds_.begin(), Promote);
    }
  }
}

int64_t RangeReader::num_rows() const {
  int64_t rows = 0;
  for (const auto& piece : pieces_) {
    rows += piece.chunk == nullptr ? 0 : piece.chunk->num_rows();
  }
  return rows;
}

Table RangeReader::Finish() {
  std::vector<std::shared_ptr<Chunk>> chunks;
  for (auto& piece : pieces_) {
    if (piece.chunk->num_rows() > 0) {
      chunks.push_back(std::move(piece.chunk));
    }
  }
  return {resources_, converter_->SchemaOf(kinds_), std::move(chunks)};
}

arrow::Status CheckOptions(const CsvReadOptions& options) {
  auto line_end = [](char byte) { return byte == '\n' || byte == '\r'; };
  if (line_end(options.delimiter) || line_end(options.quote) || options.delimiter == options.quote) {
    return arrow::Status::Invalid("the CSV delimiter is byte ", static_cast<int>(options.delimiter),
                                  " and the quote byte ", static_cast<int>(options.quote),
                                  "; expected two different bytes that are no line ends; for example ',' and '\"'");
  }
  return arrow::Status::OK();
}

std::string Signature(const std::vector<std::string>& paths, const CsvReadOptions& options) {
  std::string text = "ReadCsv(";
  for (const auto& path : paths) {
    text += "'" + path + "', ";
  }
  text += std::string("delimiter=") + options.delimiter + ", quote=" + options.quote +
          ", header=" + (options.has_header ? "yes" : "no") +
          ", newlines_in_quotes=" + (options.newlines_in_quotes ? "yes" : "no");
  auto list = [&](const char* what, const std::vector<std::string>& words) {
    text += words.empty() ? "" : std::string(", ") + what + "=";
    for (const auto& word : words) {
      text += "'" + word + "'";
    }
  };
  list("names", options.names);
  list("columns", options.columns);
  list("null_words", options.null_words.value_or(PandasNullWords()));
  for (const auto& [name, type] : options.types) {
    text += ", '" + name + "' as " + (type == nullptr ? "nothing" : type->ToString());
  }
  return text + ")";
}

std::vector<int64_t> RowsAndKinds(const RangeReader& reader) {
  std::vector<int64_t> values = {reader.num_rows()};
  for (const Kind kind : reader.kinds()) {
    values.push_back(static_cast<int64_t>(kind));
  }
  return values;
}

}  // namespace

arrow::Result<Table> ReadCsvInBlocks(Context& context, const std::vector<std::string>& paths,
                                     const CsvReadOptions& options, int64_t block_bytes) {
  ARROW_ASSIGN_OR_RAISE(const auto files,
                        io::AgreeOnFiles(context, Signature(paths, options), CheckOptions(options), paths, ".csv"));
  RangeReader reader(context, options, block_bytes);

  arrow::Status status = reader.Open(files);
  if (status.ok()) {
    status = reader.Scan();
  }
  Proposal seams{"ReadCsv, headers", status, {-1, 0, 0}};
  if (status.ok()) {
    seams.values = {reader.last_file(), reader.last_map(), reader.columns_fingerprint()};
  }
  ARROW_ASSIGN_OR_RAISE(const Agreement headers, context.communicator().Agree(std::move(seams)));
  for (size_t rank = 1; rank < headers.values.size(); ++rank) {
    if (headers.values[rank][2] != headers.values[0][2]) {
      return arrow::Status::Invalid("ranks 0 and ", rank, " see other columns in ", files.front().path,
                                    "; expected one file at every rank; put it where all hosts see it");
    }
  }

  status = reader.FindSeams(headers.values);
  if (status.ok()) {
    status = reader.ReadAll();
  }
  while (true) {
    ARROW_ASSIGN_OR_RAISE(const Agreement all,
                          context.communicator().Agree(Proposal{"ReadCsv, types", status, RowsAndKinds(reader)}));
    std::vector<Kind> kinds(reader.num_columns(), Kind::kNull);
    bool same = true;
    for (const auto& values : all.values) {
      for (size_t i = 0; i < kinds.size(); ++i) {
        const auto kind = static_cast<Kind>(values[i + 1]);
        same = same && values[i + 1] == all.values[0][i + 1];
        kinds[i] = Promote(kinds[i], kind);
      }
    }
    if (same) {
      return reader.Finish();
    }
    status = reader.ReadAgain(kinds);
  }
}

}  // namespace csv

arrow::Result<Table> ReadCsv(Context& context, const std::vector<std::string>& paths, const CsvReadOptions& options,
                             std::source_location location) {
  CallSite site(context.communicator(), location);
  const auto resources = context.resources();
  // A block's text, its parsed values and its columns are in memory together, once for each thread.
  constexpr int64_t kShare = 16;
  constexpr int64_t kLeast = 64 << 10;
  const int64_t share = resources->memory()->limit() / (kShare * resources->arena().threads());
  return csv::ReadCsvInBlocks(context, paths, options, std::clamp(share, kLeast, csv::kBlockBytes));
}

}  // namespace cylon
