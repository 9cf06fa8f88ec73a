// Joins two small tables with an installed Cylon.
#include <arrow/json/from_string.h>
#include <cylon/cylon.h>

#include <iostream>

arrow::Status Run() {
  ARROW_ASSIGN_OR_RAISE(auto context, cylon::Context::Local());
  auto schema = arrow::schema({arrow::field("key", arrow::int64()), arrow::field("value", arrow::utf8())});
  ARROW_ASSIGN_OR_RAISE(auto rows, arrow::json::ChunkedArrayFromJSONString(
                                       arrow::struct_(schema->fields()),
                                       {R"([{"key": 1, "value": "one"}, {"key": 2, "value": "two"}])"}));
  ARROW_ASSIGN_OR_RAISE(auto arrow_table, arrow::Table::FromChunkedStructArray(rows));
  ARROW_ASSIGN_OR_RAISE(auto table, cylon::Table::FromArrow(context->resources(), arrow_table));
  cylon::JoinOptions options{.left_keys = {"key"}, .right_keys = {"key"}};
  ARROW_ASSIGN_OR_RAISE(auto joined, cylon::Join(*context, table, table, options));
  std::cout << joined.num_rows() << " rows, " << joined.num_columns() << " columns\n";
  return context->Close();
}

int main() { return Run().ok() ? 0 : 1; }
