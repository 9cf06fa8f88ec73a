// Blocks of whole CSV lines, and record batches out of them.
#include "cylon/io/csv_blocks.h"

#include <arrow/csv/converter.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace cylon::csv {

namespace {

/// The parser's offsets have 31 bits.
constexpr int64_t kLongestLine = 1 << 30;

/// Enough of a line to know it by.
std::string Shown(std::string_view line) {
  constexpr size_t kMost = 120;
  return line.size() <= kMost ? std::string(line) : std::string(line.substr(0, kMost)) + "...";
}

/// Where the `row`-th (from 0) non-empty line of a block begins.
size_t RowOffset(const LineScanner& scanner, std::string_view text, int64_t row) {
  size_t offset = 0;
  scanner.ForEachLine(text, [&](size_t begin, std::string_view) {
    offset = begin;
    return row-- > 0;
  });
  return offset;
}

arrow::Status OpenLineError(const File& file, const Block& block, size_t offset) {
  return arrow::Status::Invalid(Place(file, block.begin + static_cast<int64_t>(offset)),
                                ": a quoted value is still open at the end of the line; expected its closing quote; "
                                "where quoted values may hold line ends, pass newlines_in_quotes=true");
}

}  // namespace

arrow::Result<std::optional<Block>> BlockCutter::Next() {
  if (begin_ >= end_) {
    return std::nullopt;
  }
  for (int64_t size = block_bytes_;; size *= 2) {
    const int64_t bytes = std::min(size, end_ - begin_);
    if (bytes > kLongestLine) {
      return arrow::Status::Invalid("the line of ", file_->path, " that begins at byte ", begin_, " has no end within ",
                                    kLongestLine, " bytes; expected shorter lines; check the file",
                                    scanner_->quotes() ? " and its quotes" : "");
    }
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadBytes(*file_, begin_, bytes));
    int64_t end = end_;
    if (begin_ + bytes < end_) {
      const size_t last = scanner_->LastLineBegin(View(*buffer));
      if (last == std::string_view::npos) {
        continue;
      }
      end = begin_ + static_cast<int64_t>(last);
    }
    Block block{begin_, end, arrow::SliceBuffer(buffer, 0, end - begin_)};
    begin_ = end;
    return block;
  }
}

BlockConverter::BlockConverter(const CsvReadOptions& options, std::vector<Column> columns, arrow::MemoryPool* pool)
    : columns_(std::move(columns)),
      lines_(options.delimiter, options.quote, options.newlines_in_quotes),
      quoted_(options.delimiter, options.quote, /*quotes=*/true),
      pool_(pool),
      parse_(arrow::csv::ParseOptions::Defaults()),
      convert_(arrow::csv::ConvertOptions::Defaults()) {
  parse_.delimiter = options.delimiter;
  parse_.quote_char = options.quote;
  parse_.newlines_in_values = options.newlines_in_quotes;
  convert_.null_values = options.null_words.value_or(PandasNullWords());
  convert_.strings_can_be_null = true;
  convert_.quoted_strings_can_be_null = true;
  convert_.true_values = {"True", "TRUE", "true"};
  convert_.false_values = {"False", "FALSE", "false"};
}

std::shared_ptr<arrow::Schema> BlockConverter::SchemaOf(const std::vector<Kind>& kinds) const {
  arrow::FieldVector fields;
  for (size_t i = 0; i < columns_.size(); ++i) {
    fields.push_back(arrow::field(columns_[i].name, columns_[i].type != nullptr ? columns_[i].type : TypeOf(kinds[i])));
  }
  return arrow::schema(std::move(fields));
}

std::optional<size_t> BlockConverter::OpenLine(std::string_view text) const {
  std::optional<size_t> open;
  lines_.ForEachLine(text, [&](size_t begin, std::string_view line) {
    if (quoted_.Run(State::kLineStart, line) == State::kQuoted) {
      open = begin;
    }
    return !open.has_value();
  });
  return open;
}

std::optional<size_t> BlockConverter::LineEndInQuotes(std::string_view text, int64_t rows) const {
  int64_t lines = 0;
  size_t last = 0;
  bool fresh = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool end = text[i] == '\n' || text[i] == '\r';
    if (!end && fresh) {
      ++lines;
      last = i;
    }
    fresh = end;
  }
  // Where each row is one line, only the last can have an open quote, and the others need no second look.
  if (lines == rows && quoted_.Run(State::kLineStart, text.substr(last)) != State::kQuoted) {
    return std::nullopt;
  }
  return OpenLine(text);
}

std::optional<size_t> BlockConverter::OpenQuote(std::string_view text) const {
  State state = State::kLineStart;
  size_t opened = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const State next = quoted_.Next(state, text[i]);
    if (next == State::kQuoted && state != State::kQuoted && state != State::kQuoteInQuoted) {
      opened = i;
    }
    state = next;
  }
  return state == State::kQuoted ? std::optional<size_t>(opened) : std::nullopt;
}

arrow::Status BlockConverter::CheckQuotes(const File& file, const Block& block, int64_t rows) const {
  const std::string_view text = View(*block.text);
  if (!lines_.quotes()) {
    const auto open = LineEndInQuotes(text, rows);
    return open.has_value() ? OpenLineError(file, block, *open) : arrow::Status::OK();
  }
  // Other blocks were cut where a line begins, outside of quotes.
  const auto open = block.end == file.size ? OpenQuote(text) : std::nullopt;
  if (open.has_value()) {
    return arrow::Status::Invalid(Place(file, block.begin + static_cast<int64_t>(*open)),
                                  ": the quote that opens here is not closed before the file ends; expected a closing "
                                  "quote; correct the file");
  }
  return arrow::Status::OK();
}

arrow::Status BlockConverter::RaggedError(const File& file, const Block& block, const Ragged& ragged) const {
  const std::string_view text = View(*block.text);
  const size_t offset = RowOffset(lines_, text, ragged.row);
  // An open quote swallows lines, which looks like a row of many values.
  const auto open = lines_.quotes() ? std::nullopt : OpenLine(text);
  if (open.has_value() && *open <= offset) {
    return OpenLineError(file, block, *open);
  }
  return arrow::Status::Invalid(
      Place(file, block.begin + static_cast<int64_t>(offset)), ": the row has ", ragged.values,
      " values, but there are ", file.names.size(), " columns: ", ragged.text,
      "; correct the row, quote values that hold the delimiter",
      lines_.quotes() ? "" : ", or pass newlines_in_quotes=true where quoted values hold line ends");
}

arrow::Result<std::shared_ptr<arrow::Array>> BlockConverter::ConvertColumn(const arrow::csv::BlockParser& parser,
                                                                           int position, const Column& column,
                                                                           Kind* kind) const {
  auto convert = [&](const std::shared_ptr<arrow::DataType>& type) -> arrow::Result<std::shared_ptr<arrow::Array>> {
    ARROW_ASSIGN_OR_RAISE(auto converter, arrow::csv::Converter::Make(type, convert_, pool_));
    return converter->Convert(parser, position);
  };
  if (column.type != nullptr) {
    return convert(column.type);
  }
  auto array = convert(TypeOf(*kind));
  for (const Kind higher : Above(*kind)) {
    if (array.ok() || !array.status().IsInvalid()) {
      break;
    }
    array = convert(TypeOf(higher));
    if (array.ok()) {
      *kind = higher;
    }
  }
  return array;
}

arrow::Status BlockConverter::ValueError(const File& file, const Block& block, const std::string& column,
                                         const arrow::Status& status) const {
  // Arrow says "... Row #3: ...", counted from 1 within the block.
  std::string place = file.path;
  constexpr std::string_view kRow = "Row #";
  const std::string& message = status.message();
  const size_t at = message.find(kRow);
  if (at != std::string::npos) {
    int64_t row = 0;
    std::from_chars(message.data() + at + kRow.size(), message.data() + message.size(), row);
    const size_t offset = RowOffset(lines_, View(*block.text), row - 1);
    place = Place(file, block.begin + static_cast<int64_t>(offset));
  }
  const size_t end = message.find(": ", at == std::string::npos ? 0 : at);
  const std::string what = end == std::string::npos ? message : message.substr(end + 2);
  return status.WithMessage(place, ": column '", column, "': ", what,
                            "; correct the value, or pass another type for the column");
}

arrow::Result<Parsed> BlockConverter::Convert(const File& file, const std::vector<int>& positions, const Block& block,
                                              const std::vector<Kind>& kinds) const {
  const std::string_view text = View(*block.text);
  arrow::csv::ParseOptions parse = parse_;
  std::optional<Ragged> ragged;
  parse.invalid_row_handler = [&](const arrow::csv::InvalidRow& row) {
    ragged = Ragged{row.number - 1, row.actual_columns, Shown(row.text)};
    return arrow::csv::InvalidRowResult::Error;
  };
  arrow::csv::BlockParser parser(pool_, parse, static_cast<int32_t>(file.names.size()), /*first_row=*/1,
                                 std::numeric_limits<int32_t>::max());
  uint32_t bytes = 0;
  const arrow::Status status = parser.ParseFinal(text, &bytes);
  if (ragged.has_value()) {
    return RaggedError(file, block, *ragged);
  }
  ARROW_RETURN_NOT_OK(status);
  ARROW_RETURN_NOT_OK(CheckQuotes(file, block, parser.num_rows()));

  Parsed parsed{kinds, nullptr};
  arrow::ArrayVector arrays;
  for (size_t i = 0; i < columns_.size(); ++i) {
    auto array = ConvertColumn(parser, positions[i], columns_[i], &parsed.kinds[i]);
    if (!array.ok()) {
      return ValueError(file, block, columns_[i].name, array.status());
    }
    arrays.push_back(*array);
  }
  parsed.batch = arrow::RecordBatch::Make(SchemaOf(parsed.kinds), parser.num_rows(), std::move(arrays));
  return parsed;
}

}  // namespace cylon::csv
