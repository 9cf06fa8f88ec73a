// The operators, as functions of a context and tables.
#include <arrow/c/abi.h>
#include <arrow/c/bridge.h>
#include <arrow/compute/api.h>

#include "bindings.h"

namespace cylon::python {

namespace {

/// The value of `choice` in `names`, for enumerations that Python writes as words.
template <typename T>
T Choose(const char* argument, const std::string& choice, const std::vector<std::pair<const char*, T>>& names) {
  std::string known;
  for (const auto& [name, value] : names) {
    if (choice == name) {
      return value;
    }
    known += known.empty() ? "" : ", ";
    known += std::string("'") + name + "'";
  }
  throw nb::value_error((std::string(argument) + "='" + choice + "' is not one of " + known).c_str());
}

AggregateOp ParseAggregate(const std::string& name) {
  std::vector<std::pair<const char*, AggregateOp>> names;
  for (int op = 0; op <= static_cast<int>(AggregateOp::kQuantile); ++op) {
    names.emplace_back(AggregateName(static_cast<AggregateOp>(op)).data(), static_cast<AggregateOp>(op));
  }
  return Choose<AggregateOp>("aggregate", name, names);
}

/// (column, operation, name of the result, ddof, quantile, reproducible, approximate, compression)
using AggregateTuple = std::tuple<std::string, std::string, std::string, int, double, bool, bool, int>;

std::vector<Aggregate> ParseAggregates(const std::vector<AggregateTuple>& tuples) {
  std::vector<Aggregate> aggregates;
  for (const auto& [column, op, name, ddof, quantile, reproducible, approximate, compression] : tuples) {
    aggregates.push_back({column, ParseAggregate(op), name, ddof, quantile, reproducible, approximate, compression});
  }
  return aggregates;
}

/// An Arrow array out of the two capsules of `__arrow_c_array__`.
arrow::Result<std::shared_ptr<arrow::Array>> ImportArray(const nb::tuple& capsules) {
  auto* schema = static_cast<ArrowSchema*>(PyCapsule_GetPointer(nb::object(capsules[0]).ptr(), "arrow_schema"));
  auto* array = static_cast<ArrowArray*>(PyCapsule_GetPointer(nb::object(capsules[1]).ptr(), "arrow_array"));
  if (schema == nullptr || array == nullptr) {
    throw nb::python_error();
  }
  return arrow::ImportArray(array, schema);
}

/// Operands come as tables of one column, or as the capsules of an array with one value.
std::vector<Operand> ParseOperands(const nb::list& operands) {
  std::vector<Operand> parsed;
  for (nb::handle operand : operands) {
    if (nb::isinstance<Table>(operand)) {
      parsed.emplace_back(nb::cast<Table>(operand));
    } else {
      auto array = Check(ImportArray(nb::cast<nb::tuple>(operand)));
      parsed.emplace_back(Check(array->GetScalar(0)));
    }
  }
  return parsed;
}

Table MapTable(const std::string& function, const nb::list& operands, const std::string& name) {
  auto parsed = ParseOperands(operands);
  return WithoutGil([&] { return MapColumns(function, parsed, nullptr, name); });
}

Table IsIn(const Table& column, const nb::tuple& values, const std::string& name) {
  arrow::compute::SetLookupOptions options(Check(ImportArray(values)));
  return WithoutGil([&] { return MapColumns("is_in", {column}, &options, name); });
}

Table CastTable(const Table& table, const std::vector<std::pair<std::string, nb::object>>& types) {
  std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>> parsed;
  for (const auto& [name, capsule] : types) {
    auto* schema = static_cast<ArrowSchema*>(PyCapsule_GetPointer(capsule.ptr(), "arrow_schema"));
    if (schema == nullptr) {
      throw nb::python_error();
    }
    parsed.emplace_back(name, Check(arrow::ImportType(schema)));
  }
  return WithoutGil([&] { return CastColumns(table, parsed); });
}

Table JoinTables(Context& context, const Table& left, const Table& right, const std::string& how,
                 const std::vector<std::string>& left_keys, const std::vector<std::string>& right_keys,
                 bool match_nulls, const std::pair<std::string, std::string>& suffixes, const std::string& algorithm,
                 const std::vector<std::tuple<std::string, std::string, std::string>>& condition) {
  JoinOptions options;
  for (const auto& [left_column, sign, right_column] : condition) {
    const auto comparison = Choose<Comparison>("condition", sign,
                                               {{"==", Comparison::kEqual},
                                                {"!=", Comparison::kNotEqual},
                                                {"<", Comparison::kLess},
                                                {"<=", Comparison::kLessEqual},
                                                {">", Comparison::kGreater},
                                                {">=", Comparison::kGreaterEqual}});
    options.condition.push_back({left_column, comparison, right_column});
  }
  options.type = Choose<JoinType>("how", how,
                                  {{"inner", JoinType::kInner},
                                   {"left", JoinType::kLeft},
                                   {"right", JoinType::kRight},
                                   {"outer", JoinType::kFull},
                                   {"semi", JoinType::kSemi},
                                   {"anti", JoinType::kAnti},
                                   {"cross", JoinType::kCross}});
  options.algorithm = Choose<std::optional<JoinAlgorithm>>(
      "algorithm", algorithm, {{"auto", std::nullopt}, {"hash", JoinAlgorithm::kHash}, {"sort", JoinAlgorithm::kSort}});
  options.left_keys = left_keys;
  options.right_keys = right_keys;
  options.null_keys = match_nulls ? NullKeys::kMatch : NullKeys::kNeverMatch;
  options.left_suffix = suffixes.first;
  options.right_suffix = suffixes.second;
  return WithoutGil(context, [&] { return Join(context, left, right, options); });
}

Table GroupTable(Context& context, const Table& table, const std::vector<std::string>& keys,
                 const std::vector<AggregateTuple>& aggregates, bool drop_null_keys, bool sort) {
  GroupByOptions options{keys, ParseAggregates(aggregates), drop_null_keys, sort};
  return WithoutGil(context, [&] { return GroupBy(context, table, options); });
}

Table HeadOfGroups(Context& context, const Table& table, const std::vector<std::string>& keys, int64_t count, bool tail,
                   bool drop_null_keys) {
  const GroupHeadOptions options{keys, count, tail ? GroupSide::kTail : GroupSide::kHead, drop_null_keys};
  return WithoutGil(context, [&] { return GroupHead(context, table, options); });
}

std::vector<SortColumn> SortColumns(const std::vector<std::pair<std::string, bool>>& by) {
  std::vector<SortColumn> columns;
  for (const auto& [name, ascending] : by) {
    columns.push_back({name, ascending ? SortOrder::kAscending : SortOrder::kDescending});
  }
  return columns;
}

Table TopOfGroups(Context& context, const Table& table, const std::vector<std::string>& keys,
                  const std::vector<std::pair<std::string, bool>>& by, int64_t count, bool drop_null_keys) {
  const GroupTopOptions options{keys, SortColumns(by), count, drop_null_keys};
  return WithoutGil(context, [&] { return GroupTop(context, table, options); });
}

Table AggregateTable(Context& context, const Table& table, const std::vector<AggregateTuple>& aggregates) {
  auto parsed = ParseAggregates(aggregates);
  return WithoutGil(context, [&]() -> arrow::Result<Table> {
    ARROW_ASSIGN_OR_RAISE(auto batch, AggregateAll(context, table, parsed));
    return Table::FromBatches(context.resources(), batch->schema(), {batch});
  });
}

Table SortRows(Context& context, const Table& table, const std::vector<std::pair<std::string, bool>>& by,
               bool nulls_first) {
  SortOptions options;
  options.by = SortColumns(by);
  options.nulls = nulls_first ? NullPlacement::kFirst : NullPlacement::kLast;
  return WithoutGil(context, [&] { return Sort(context, table, options); });
}

Table TopRows(Context& context, const Table& table, const std::vector<std::pair<std::string, bool>>& by, int64_t count,
              const std::string& keep) {
  SortOptions options;
  options.by = SortColumns(by);
  const KeepTies ties =
      Choose<KeepTies>("keep", keep, {{"first", KeepTies::kFirst}, {"last", KeepTies::kLast}, {"all", KeepTies::kAll}});
  return WithoutGil(context, [&] { return TopK(context, table, options, count, ties); });
}

Table CombineSets(Context& context, const Table& left, const Table& right, const std::string& operation) {
  using Operation = decltype(&Union);
  const auto chosen = Choose<Operation>("operation", operation,
                                        {{"union", &Union}, {"intersect", &Intersect}, {"subtract", &Subtract}});
  return WithoutGil(context, [&] { return chosen(context, left, right, std::source_location::current()); });
}

Table UniqueTable(Context& context, const Table& table, const std::vector<std::string>& columns,
                  const std::string& keep) {
  const Keep which =
      Choose<Keep>("keep", keep, {{"first", Keep::kFirst}, {"last", Keep::kLast}, {"none", Keep::kNone}});
  return WithoutGil(context, [&] { return Unique(context, table, columns, which); });
}

Table FilterTable(Context& context, const Table& table, const Table& mask) {
  return WithoutGil(context, [&]() -> arrow::Result<Table> {
    ARROW_ASSIGN_OR_RAISE(auto arrow_mask, mask.ToArrow());
    return Filter(context, table, *arrow_mask->column(0));
  });
}

}  // namespace

void BindOperators(nb::module_& module) {
  module.def("join", &JoinTables, nb::arg("context"), nb::arg("left"), nb::arg("right"), nb::arg("how"),
             nb::arg("left_keys"), nb::arg("right_keys"), nb::arg("match_nulls"), nb::arg("suffixes"),
             nb::arg("algorithm"), nb::arg("condition"));
  module.def("group_by", &GroupTable, nb::arg("context"), nb::arg("table"), nb::arg("keys"), nb::arg("aggregates"),
             nb::arg("drop_null_keys"), nb::arg("sort"));
  module.def("group_head", &HeadOfGroups, nb::arg("context"), nb::arg("table"), nb::arg("keys"), nb::arg("count"),
             nb::arg("tail"), nb::arg("drop_null_keys"));
  module.def("group_top", &TopOfGroups, nb::arg("context"), nb::arg("table"), nb::arg("keys"), nb::arg("by"),
             nb::arg("count"), nb::arg("drop_null_keys"));
  module.def("aggregate", &AggregateTable, nb::arg("context"), nb::arg("table"), nb::arg("aggregates"));
  module.def("sort", &SortRows, nb::arg("context"), nb::arg("table"), nb::arg("by"), nb::arg("nulls_first"));
  module.def("top_k", &TopRows, nb::arg("context"), nb::arg("table"), nb::arg("by"), nb::arg("count"), nb::arg("keep"));
  module.def("combine_sets", &CombineSets, nb::arg("context"), nb::arg("left"), nb::arg("right"), nb::arg("operation"));
  module.def("unique", &UniqueTable, nb::arg("context"), nb::arg("table"), nb::arg("columns"), nb::arg("keep"));
  module.def("filter", &FilterTable, nb::arg("context"), nb::arg("table"), nb::arg("mask"));
  module.def(
      "slice_rows",
      [](Context& context, const Table& table, int64_t offset, int64_t length) {
        return WithoutGil(context, [&] { return SliceRows(context, table, offset, length); });
      },
      nb::arg("context"), nb::arg("table"), nb::arg("offset"), nb::arg("length"));
  module.def(
      "shuffle",
      [](Context& context, const Table& table, const std::vector<std::string>& columns) {
        return WithoutGil(context, [&] { return Shuffle(context, table, columns); });
      },
      nb::arg("context"), nb::arg("table"), nb::arg("columns"));
  module.def(
      "repartition",
      [](Context& context, const Table& table, const std::optional<std::vector<int64_t>>& rows_per_rank) {
        return WithoutGil(context, [&] { return Repartition(context, table, rows_per_rank); });
      },
      nb::arg("context"), nb::arg("table"), nb::arg("rows_per_rank").none());
  module.def(
      "gather",
      [](Context& context, const Table& table, int root) {
        return WithoutGil(
            context, [&] { return root < 0 ? AllGatherTable(context, table) : GatherTable(context, table, root); });
      },
      nb::arg("context"), nb::arg("table"), nb::arg("root"));
  module.def(
      "broadcast",
      [](Context& context, const Table& table, int root) {
        return WithoutGil(context, [&] { return BroadcastTable(context, table, root); });
      },
      nb::arg("context"), nb::arg("table"), nb::arg("root"));
  module.def(
      "concat",
      [](Context& context, const std::vector<Table>& tables) {
        return WithoutGil(context, [&] { return Concat(context, tables); });
      },
      nb::arg("context"), nb::arg("tables"));
  module.def(
      "total_rows",
      [](Context& context, const Table& table) {
        return WithoutGil(context, [&] { return TotalRows(context, table); });
      },
      nb::arg("context"), nb::arg("table"));
  module.def(
      "equal",
      [](Context& context, const Table& left, const Table& right, bool ordered) {
        return WithoutGil(context, [&] { return Equal(context, left, right, ordered); });
      },
      nb::arg("context"), nb::arg("left"), nb::arg("right"), nb::arg("ordered"));
  module.def("map_columns", &MapTable, nb::arg("function"), nb::arg("operands"), nb::arg("name"));
  module.def("is_in", &IsIn, nb::arg("column"), nb::arg("values"), nb::arg("name"));
  module.def("cast", &CastTable, nb::arg("table"), nb::arg("types"));
  module.def(
      "with_column",
      [](const Table& table, const std::string& name, const Table& column) {
        return WithoutGil([&] { return WithColumn(table, name, column); });
      },
      nb::arg("table"), nb::arg("name"), nb::arg("column"));
}

}  // namespace cylon::python
