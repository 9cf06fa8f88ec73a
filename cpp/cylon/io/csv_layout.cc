// CSV files before their rows: headers, columns, and which bytes belong to which rank.
#include "cylon/io/csv_layout.h"

#include <arrow/csv/parser.h>

#include <algorithm>
#include <set>

namespace cylon::csv {

namespace {

constexpr int64_t kWindow = 256 << 10;
/// A header line beyond this is a file that is no CSV.
constexpr int64_t kLongestHeader = 64 << 20;

std::string JoinNames(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    text += (text.empty() ? "'" : ", '") + name + "'";
  }
  return text;
}

arrow::Result<std::vector<std::string>> ParseLine(std::string_view line, const CsvReadOptions& options,
                                                  const std::string& path) {
  auto parse = arrow::csv::ParseOptions::Defaults();
  parse.delimiter = options.delimiter;
  parse.quote_char = options.quote;
  parse.newlines_in_values = options.newlines_in_quotes;
  arrow::csv::BlockParser parser(parse, /*num_cols=*/-1, /*first_row=*/-1, /*max_num_rows=*/1);
  uint32_t parsed = 0;
  auto status = parser.ParseFinal(line, &parsed);
  if (!status.ok()) {
    return status.WithMessage("the first line of ", path, " cannot be read as CSV: ", status.message());
  }
  std::vector<std::string> values;
  for (int column = 0; column < parser.num_cols(); ++column) {
    ARROW_RETURN_NOT_OK(parser.VisitColumn(column, [&](const uint8_t* data, uint32_t size, bool, bool) {
      values.emplace_back(data, data + size);
      return arrow::Status::OK();
    }));
  }
  return values;
}

/// pandas' names for columns without one, and for the second of a name.
std::vector<std::string> MakeUnique(std::vector<std::string> names) {
  std::set<std::string> taken(names.begin(), names.end());
  std::set<std::string> used;
  for (size_t i = 0; i < names.size(); ++i) {
    std::string name = names[i].empty() ? "Unnamed: " + std::to_string(i) : names[i];
    if (!used.insert(name).second) {
      int copy = 1;
      while (taken.contains(name + "." + std::to_string(copy))) {
        ++copy;
      }
      name += "." + std::to_string(copy);
      used.insert(name);
      taken.insert(name);
    }
    names[i] = std::move(name);
  }
  return names;
}

arrow::Status UnknownColumn(const std::string& name, const std::string& where, const std::vector<std::string>& names,
                            const File& file) {
  return arrow::Status::KeyError("there is no column '", name, "' in ", file.path, ", but ", where,
                                 " names it; it has ", JoinNames(names));
}

}  // namespace

std::vector<Segment> PlanSegments(const std::vector<int64_t>& sizes, int rank, int world_size) {
  int64_t total = 0;
  for (const int64_t size : sizes) {
    total += size;
  }
  // total * rank could overflow: whole parts first, then what is left, a byte each to the first ranks.
  auto cut = [&](int64_t r) { return total / world_size * r + std::min<int64_t>(r, total % world_size); };
  const int64_t begin = cut(rank);
  const int64_t end = cut(rank + 1);
  std::vector<Segment> segments;
  int64_t offset = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t from = std::max(begin, offset);
    const int64_t to = std::min(end, offset + sizes[i]);
    if (from < to) {
      segments.push_back({static_cast<int64_t>(i), from - offset, to - offset});
    }
    offset += sizes[i];
  }
  return segments;
}

const std::vector<std::string>& PandasNullWords() {
  static const std::vector<std::string> words = {"",     "#N/A",   "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN",
                                                 "-nan", "1.#IND", "1.#QNAN",  "<NA>", "N/A",     "NA",       "NULL",
                                                 "NaN",  "None",   "n/a",      "nan",  "null"};
  return words;
}

arrow::Result<std::shared_ptr<arrow::Buffer>> ReadBytes(const File& file, int64_t offset, int64_t bytes) {
  bytes = std::clamp<int64_t>(file.size - offset, 0, bytes);
  auto read = file.source->ReadAt(offset, bytes);
  if (!read.ok()) {
    return read.status().WithMessage("reading ", bytes, " bytes at byte ", offset, " of ", file.path, ": ",
                                     read.status().message());
  }
  if ((*read)->size() != bytes) {
    return arrow::Status::IOError(file.path, " ends at byte ", offset + (*read)->size(), "; it had ", file.size,
                                  " bytes when the ranks began; do not change files while they are read");
  }
  return read;
}

arrow::Result<File> OpenFile(const std::string& path, int64_t size, const CsvReadOptions& options,
                             const LineScanner& scanner, arrow::MemoryPool* pool) {
  File file{path, size, nullptr, 0, {}};
  ARROW_ASSIGN_OR_RAISE(file.source, arrow::io::ReadableFile::Open(path, pool));
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  constexpr std::string_view kGzip = "\x1F\x8B";
  for (int64_t window = kWindow;; window *= 4) {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadBytes(file, 0, window));
    const std::string_view text = View(*buffer);
    if (text.starts_with(kGzip)) {
      return arrow::Status::Invalid(path, " is compressed with gzip; expected plain text, which ranks can split by ",
                                    "bytes; unpack it first");
    }
    size_t begin = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
    file.data_begin = static_cast<int64_t>(begin);
    begin = std::min(text.find_first_not_of("\r\n", begin), text.size());
    State state = State::kLineStart;
    const size_t end = begin + std::min(scanner.FirstLineBegin(&state, text.substr(begin)), text.size() - begin);
    const bool whole = buffer->size() == size;
    if (state != State::kLineStart && !whole) {
      if (window >= kLongestHeader) {
        return arrow::Status::Invalid("the first line of ", path, " has no end within ", window,
                                      " bytes; expected CSV; check the file and its quotes");
      }
      continue;
    }
    std::string_view line = text.substr(begin, end - begin);
    line = line.substr(0, line.find_last_not_of("\r\n") + 1);
    if (!line.empty()) {
      ARROW_ASSIGN_OR_RAISE(file.names, ParseLine(line, options, path));
    }
    if (options.has_header) {
      file.data_begin = static_cast<int64_t>(end);
    } else {
      for (size_t i = 0; i < file.names.size(); ++i) {
        file.names[i] = "f" + std::to_string(i);
      }
    }
    return file;
  }
}

arrow::Result<std::vector<Column>> PlanColumns(const File& first, const CsvReadOptions& options) {
  std::vector<std::string> names = MakeUnique(first.names);
  if (!options.names.empty()) {
    // A file without any line has as many columns as there are names.
    if (!names.empty() && names.size() != options.names.size()) {
      return arrow::Status::Invalid(first.path, " has ", names.size(), " columns, but ", options.names.size(),
                                    " names were given: ", JoinNames(options.names), "; give one name for each column");
    }
    names = options.names;
  }
  if (names.empty()) {
    return arrow::Status::Invalid(
        first.path, " has no columns: it is empty; expected a header line; check the file, or ", "pass names");
  }
  auto find = [&](const std::string& name, const std::string& where) -> arrow::Result<size_t> {
    const auto at = std::ranges::find(names, name);
    if (at == names.end()) {
      return UnknownColumn(name, where, names, first);
    }
    return static_cast<size_t>(at - names.begin());
  };
  std::vector<std::shared_ptr<arrow::DataType>> types(names.size());
  for (const auto& [name, type] : options.types) {
    ARROW_ASSIGN_OR_RAISE(const size_t index, find(name, "types"));
    types[index] = type;
  }
  std::vector<Column> columns;
  if (options.columns.empty()) {
    for (size_t i = 0; i < names.size(); ++i) {
      columns.push_back({names[i], i, types[i]});
    }
  }
  for (const auto& name : options.columns) {
    ARROW_ASSIGN_OR_RAISE(const size_t index, find(name, "columns"));
    columns.push_back({name, index, types[index]});
  }
  return columns;
}

arrow::Result<std::vector<int>> MatchColumns(const File& first, const File& file, bool has_header,
                                             const std::vector<Column>& columns) {
  std::vector<int> positions;
  positions.reserve(columns.size());
  if (file.names.size() != first.names.size()) {
    return arrow::Status::Invalid(file.path, " has ", file.names.size(), " columns (", JoinNames(file.names), "), but ",
                                  first.path, " has ", first.names.size(), " (", JoinNames(first.names),
                                  "); files that are read together need the same columns");
  }
  for (const auto& column : columns) {
    auto at = static_cast<std::ptrdiff_t>(column.source);
    // The same place first: names may be repeated.
    if (has_header && file.names[column.source] != first.names[column.source]) {
      at = std::ranges::find(file.names, first.names[column.source]) - file.names.begin();
    }
    if (at == std::ssize(file.names)) {
      return arrow::Status::Invalid(file.path, " has no column '", first.names[column.source], "', which ", first.path,
                                    " has; it has ", JoinNames(file.names),
                                    "; files that are read together need the same columns");
    }
    positions.push_back(static_cast<int>(at));
  }
  return positions;
}

arrow::Result<State> PlainStateAt(const File& file, int64_t offset) {
  if (offset == file.data_begin) {
    return State::kLineStart;
  }
  ARROW_ASSIGN_OR_RAISE(auto before, ReadBytes(file, offset - 1, 1));
  const char byte = View(*before).front();
  return byte == '\n' || byte == '\r' ? State::kLineStart : State::kValue;
}

arrow::Result<int64_t> FindLineBegin(const File& file, const LineScanner& scanner, int64_t offset, State state) {
  while (offset < file.size && state != State::kLineStart) {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadBytes(file, offset, kWindow));
    const std::string_view text = View(*buffer);
    offset += static_cast<int64_t>(std::min(scanner.FirstLineBegin(&state, text), text.size()));
  }
  return offset;
}

arrow::Result<StateMap> ScanStates(const File& file, const LineScanner& scanner, int64_t begin, int64_t end) {
  StateMap states = kIdentity;
  constexpr int64_t kScanWindow = 1 << 20;
  while (begin < end) {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadBytes(file, begin, std::min(kScanWindow, end - begin)));
    states = scanner.RunAll(states, View(*buffer));
    begin += buffer->size();
  }
  return states;
}

std::string Place(const File& file, int64_t offset) {
  constexpr int64_t kMostCounted = 256 << 20;
  const std::string byte = "byte " + std::to_string(offset);
  int64_t line = 1;
  for (int64_t at = 0; at < offset;) {
    auto buffer = offset <= kMostCounted ? ReadBytes(file, at, std::min(kWindow, offset - at))
                                         : arrow::Status::Cancelled("too far");
    if (!buffer.ok()) {
      return file.path + ", " + byte;
    }
    line += std::ranges::count(View(**buffer), '\n');
    at += (*buffer)->size();
  }
  return file.path + ", line " + std::to_string(line) + " (" + byte + ")";
}

}  // namespace cylon::csv
