// Reading and writing files.
#include <arrow/c/abi.h>
#include <arrow/c/bridge.h>

#include "bindings.h"
#include "cylon/io/csv_layout.h"

namespace cylon::python {

namespace {

Table ReadCsvFiles(Context& context, const std::vector<std::string>& paths, const std::string& delimiter,
                   const std::string& quote, bool has_header, const std::vector<std::string>& names,
                   const std::vector<std::string>& columns, const std::optional<std::vector<std::string>>& null_words,
                   const std::vector<std::pair<std::string, nb::object>>& types, bool newlines_in_quotes) {
  if (delimiter.size() != 1 || quote.size() != 1) {
    throw nb::value_error("sep and quotechar have to be one character each");
  }
  CsvReadOptions options;
  options.delimiter = delimiter[0];
  options.quote = quote[0];
  options.has_header = has_header;
  options.names = names;
  options.columns = columns;
  options.null_words = null_words;
  options.newlines_in_quotes = newlines_in_quotes;
  for (const auto& [name, capsule] : types) {
    auto* schema = static_cast<ArrowSchema*>(PyCapsule_GetPointer(capsule.ptr(), "arrow_schema"));
    if (schema == nullptr) {
      throw nb::python_error();
    }
    options.types.emplace_back(name, Check(arrow::ImportType(schema)));
  }
  return WithoutGil(context, [&] { return ReadCsv(context, paths, options); });
}

}  // namespace

void BindFiles(nb::module_& module) {
  module.def("default_null_words", &csv::PandasNullWords);
  module.def("read_csv", &ReadCsvFiles, nb::arg("context"), nb::arg("paths"), nb::arg("delimiter"), nb::arg("quote"),
             nb::arg("has_header"), nb::arg("names"), nb::arg("columns"), nb::arg("null_words").none(),
             nb::arg("types"), nb::arg("newlines_in_quotes"));
  module.def(
      "read_parquet",
      [](Context& context, const std::vector<std::string>& paths, const std::vector<std::string>& columns) {
        ParquetReadOptions options{columns};
        return WithoutGil(context, [&] { return ReadParquet(context, paths, options); });
      },
      nb::arg("context"), nb::arg("paths"), nb::arg("columns"));
  module.def(
      "write_parquet",
      [](Context& context, const Table& table, const std::string& directory, const std::string& compression,
         int64_t row_group_rows, bool overwrite) {
        ParquetWriteOptions options{compression, row_group_rows, overwrite};
        WithoutGil(context, [&] { return WriteParquet(context, table, directory, options); });
      },
      nb::arg("context"), nb::arg("table"), nb::arg("directory"), nb::arg("compression"), nb::arg("row_group_rows"),
      nb::arg("overwrite"));
}

}  // namespace cylon::python
