// Which states serve the aggregates that are asked for.
#include "cylon/kernels/aggregate_plan.h"

#include <algorithm>
#include <optional>

namespace cylon {

namespace {

using aggregate::Operand;
using aggregate::Source;
using Kind = StatesPlan::Kind;

/// The type that values have once dictionary and run-end encoding are off.
std::shared_ptr<arrow::DataType> PlainType(std::shared_ptr<arrow::DataType> type) {
  while (true) {
    if (type->id() == arrow::Type::DICTIONARY) {
      type = static_cast<const arrow::DictionaryType&>(*type).value_type();
    } else if (type->id() == arrow::Type::RUN_END_ENCODED) {
      type = static_cast<const arrow::RunEndEncodedType&>(*type).value_type();
    } else if (type->id() == arrow::Type::EXTENSION) {
      type = static_cast<const arrow::ExtensionType&>(*type).storage_type();
    } else {
      return type;
    }
  }
}

/// How the values of a plain type are summed; nothing where they cannot be.
std::optional<Source> SourceOf(const arrow::DataType& type) {
  using arrow::Type;
  switch (type.id()) {
    case Type::NA:
      return Source::kNothing;
    case Type::BOOL:
    case Type::UINT8:
    case Type::UINT16:
    case Type::UINT32:
    case Type::UINT64:
      return Source::kUnsigned;
    case Type::INT8:
    case Type::INT16:
    case Type::INT32:
    case Type::INT64:
    case Type::DURATION:
    case Type::DECIMAL32:
    case Type::DECIMAL64:
      return Source::kSigned;
    case Type::HALF_FLOAT:
    case Type::FLOAT:
    case Type::DOUBLE:
      return Source::kDouble;
    case Type::DECIMAL128:
      return Source::kDecimal128;
    case Type::DECIMAL256:
      return Source::kDecimal256;
    default:
      return std::nullopt;
  }
}

/// Dates and times have an order, though no sum; they are words too.
std::optional<Source> OrderSourceOf(const arrow::DataType& type) {
  using arrow::Type;
  switch (type.id()) {
    case Type::DATE32:
    case Type::DATE64:
    case Type::TIME32:
    case Type::TIME64:
    case Type::TIMESTAMP:
      return Source::kSigned;
    default:
      return SourceOf(type);
  }
}

int ScaleOf(const arrow::DataType& type) {
  return arrow::is_decimal(type.id()) ? static_cast<const arrow::DecimalType&>(type).scale() : 0;
}

bool IsWideDecimal(const arrow::DataType& type) {
  return type.id() == arrow::Type::DECIMAL128 || type.id() == arrow::Type::DECIMAL256;
}

std::shared_ptr<arrow::DataType> SumType(const std::shared_ptr<arrow::DataType>& type) {
  using arrow::Type;
  switch (type->id()) {
    case Type::UINT8:
    case Type::UINT16:
    case Type::UINT32:
    case Type::UINT64:
      return arrow::uint64();
    case Type::HALF_FLOAT:
    case Type::FLOAT:
    case Type::DOUBLE:
      return arrow::float64();
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL128:
      return arrow::decimal128(38, ScaleOf(*type));
    case Type::DECIMAL256:
      return arrow::decimal256(76, ScaleOf(*type));
    case Type::DURATION:
      return type;
    default:
      return arrow::int64();
  }
}

bool IsOrderable(const arrow::DataType& type) {
  return !arrow::is_nested(type.id()) && type.id() != arrow::Type::INTERVAL_MONTHS &&
         type.id() != arrow::Type::INTERVAL_DAY_TIME && type.id() != arrow::Type::INTERVAL_MONTH_DAY_NANO;
}

arrow::Status Refuse(const AggregateSpec& spec, const arrow::Field& field, const char* expected, const char* hint) {
  return arrow::Status::TypeError("column '", field.name(), "' of type ", field.type()->ToString(), " has no ",
                                  AggregateName(spec.op), "; that needs ", expected, "; ", hint);
}

/// Result type of `spec`, or why there is none.
arrow::Result<std::shared_ptr<arrow::DataType>> ResultType(const AggregateSpec& spec, const arrow::Field& field,
                                                           const std::shared_ptr<arrow::DataType>& plain) {
  const bool adds_up = SourceOf(*plain).has_value();
  switch (spec.op) {
    case AggregateOp::kSum:
      if (!adds_up) {
        return Refuse(spec, field, "numbers, booleans or durations",
                      plain->id() == arrow::Type::TIMESTAMP ? "take differences first, or ask for min, max or count"
                                                            : "ask for min, max or count, or cast the column");
      }
      return SumType(plain);
    case AggregateOp::kMean:
    case AggregateOp::kVar:
    case AggregateOp::kStd:
      if (!adds_up || plain->id() == arrow::Type::DURATION) {
        return Refuse(spec, field, "numbers or booleans", "cast the column to float64 first");
      }
      return arrow::float64();
    case AggregateOp::kMin:
    case AggregateOp::kMax:
      if (!IsOrderable(*plain)) {
        return Refuse(spec, field, "values that have an order", "ask for count, or take a part of the column");
      }
      return plain;
    case AggregateOp::kFirst:
    case AggregateOp::kLast:
      if (arrow::is_nested(plain->id())) {
        return Refuse(spec, field, "values that are not nested",
                      "take the parts of the column as columns of their own");
      }
      return plain;
    case AggregateOp::kProd:
      if (!adds_up || arrow::is_decimal(plain->id()) || plain->id() == arrow::Type::DURATION) {
        return Refuse(spec, field, "integers, floats or booleans", "cast the column to float64 first");
      }
      return SumType(plain);
    case AggregateOp::kAny:
    case AggregateOp::kAll:
      if (!adds_up || IsWideDecimal(*plain)) {
        return Refuse(spec, field, "booleans or numbers of up to 64 bits", "compare the column with a value first");
      }
      return arrow::boolean();
    case AggregateOp::kMedian:
    case AggregateOp::kQuantile:
      if (!adds_up || plain->id() == arrow::Type::DURATION) {
        return Refuse(spec, field, "numbers or booleans", "cast the column to float64 first");
      }
      if (spec.op == AggregateOp::kQuantile && !(spec.quantile >= 0 && spec.quantile <= 1)) {
        return arrow::Status::Invalid("quantile ", spec.quantile, " of column '", field.name(),
                                      "' was asked for; it has to be between 0 and 1, 0.5 being the median");
      }
      if (spec.approximate && (spec.compression < kLeastCompression || spec.compression > kMostCompression)) {
        return arrow::Status::Invalid("a compression of ", spec.compression, " was asked for column '", field.name(),
                                      "'; it has to be between ", kLeastCompression, " and ", kMostCompression,
                                      " centroids; ", kDefaultCompression, " is the default, and more are more exact");
      }
      return arrow::float64();
    case AggregateOp::kNunique:
      if (!KeyColumn::OfType(plain, field.name()).ok()) {
        return Refuse(spec, field, "values that are not nested",
                      "take the parts of the column as columns of their own");
      }
      return arrow::int64();
    case AggregateOp::kCount:
    case AggregateOp::kSize:
      return arrow::int64();
  }
  return arrow::Status::Invalid("aggregate operation ", static_cast<int>(spec.op), " is not known");
}

/// The kind of states that an aggregate of a plain type is read from, and what it needs of them.
StatesPlan StatesFor(const AggregateSpec& spec, const std::shared_ptr<arrow::DataType>& plain) {
  const AggregateOp op = spec.op;
  StatesPlan plan;
  plan.type = plain;
  const bool wide = IsWideDecimal(*plain);
  switch (op) {
    case AggregateOp::kSize:
      plan.kind = Kind::kRows;
      break;
    case AggregateOp::kCount:
      plan.kind = Kind::kCount;
      break;
    case AggregateOp::kMin:
    case AggregateOp::kMax:
      if (!wide && plain->id() != arrow::Type::NA && OrderSourceOf(*plain).has_value()) {
        plan.kind = Kind::kNumbers;
        plan.needs.range = true;
      } else {
        plan.kind = op == AggregateOp::kMin ? Kind::kSmallest : Kind::kLargest;
      }
      break;
    case AggregateOp::kVar:
    case AggregateOp::kStd:
      plan.kind = Kind::kNumbers;
      plan.needs.sum = true;
      plan.needs.moments = true;
      break;
    case AggregateOp::kFirst:
      plan.kind = Kind::kFirst;
      break;
    case AggregateOp::kLast:
      plan.kind = Kind::kLast;
      break;
    case AggregateOp::kProd:
      plan.kind = Kind::kProduct;
      break;
    case AggregateOp::kAny:
    case AggregateOp::kAll:
      plan.kind = Kind::kTruth;
      break;
    case AggregateOp::kNunique:
      plan.kind = Kind::kDistinct;
      break;
    case AggregateOp::kMedian:
    case AggregateOp::kQuantile:
      plan.kind = spec.approximate ? Kind::kDigest : Kind::kQuantiles;
      plan.compression = spec.approximate ? spec.compression : 0;
      break;
    default:
      plan.kind = wide ? Kind::kDecimalSum : Kind::kNumbers;
      plan.needs.sum = true;
  }
  return plan;
}

/// Whether the result is never null.
bool AlwaysHasValue(AggregateOp op) {
  return op == AggregateOp::kSize || op == AggregateOp::kCount || op == AggregateOp::kNunique ||
         op == AggregateOp::kAny || op == AggregateOp::kAll;
}

}  // namespace

std::string_view AggregateName(AggregateOp op) {
  switch (op) {
    case AggregateOp::kSum:
      return "sum";
    case AggregateOp::kCount:
      return "count";
    case AggregateOp::kSize:
      return "size";
    case AggregateOp::kMean:
      return "mean";
    case AggregateOp::kMin:
      return "min";
    case AggregateOp::kMax:
      return "max";
    case AggregateOp::kVar:
      return "var";
    case AggregateOp::kStd:
      return "std";
    case AggregateOp::kProd:
      return "prod";
    case AggregateOp::kAny:
      return "any";
    case AggregateOp::kAll:
      return "all";
    case AggregateOp::kFirst:
      return "first";
    case AggregateOp::kLast:
      return "last";
    case AggregateOp::kNunique:
      return "nunique";
    case AggregateOp::kMedian:
      return "median";
    case AggregateOp::kQuantile:
      return "quantile";
  }
  return "unknown";
}

arrow::FieldVector StatesPlan::Fields() const {
  arrow::FieldVector fields;
  const auto add = [&](const char* what, std::shared_ptr<arrow::DataType> field_type, bool nullable = false) {
    fields.push_back(arrow::field(column_name + "." + what, std::move(field_type), nullable));
  };
  switch (kind) {
    case Kind::kRows:
    case Kind::kCount:
      add("count", arrow::int64());
      break;
    case Kind::kNumbers:
      add("count", arrow::int64());
      if (needs.sum && (SourceOf(*type) == Source::kDouble || IsWideDecimal(*type))) {
        add("sum", arrow::float64());
        add("compensation", arrow::float64());
      } else if (needs.sum) {
        add("sum", arrow::decimal128(38, 0));
      }
      if (needs.moments) {
        add("squares", arrow::float64());
      }
      if (needs.range) {
        add("min", type, true);
        add("max", type, true);
      }
      break;
    case Kind::kExactNumbers:
      add("count", arrow::int64());
      add("sum", arrow::fixed_size_binary(aggregate::ExactSumBytes()));
      if (needs.moments) {
        add("squares", arrow::fixed_size_binary(aggregate::ExactSumBytes()));
      }
      break;
    case Kind::kDecimalSum:
      add("count", arrow::int64());
      add("sum", SumType(type));
      break;
    case Kind::kSmallest:
    case Kind::kLargest:
    case Kind::kFirst:
    case Kind::kLast:
      add("value", type, true);
      break;
    case Kind::kProduct:
      if (SourceOf(*type) == Source::kDouble) {
        add("product", arrow::float64());
      } else {
        add("size", arrow::uint64());
        add("flags", arrow::uint8());
      }
      break;
    case Kind::kTruth:
      add("seen", arrow::uint8());
      break;
    case Kind::kDigest:
      add("digest", arrow::large_binary());
      break;
    case Kind::kDistinct:
    case Kind::kQuantiles:
      break;
  }
  return fields;
}

std::unique_ptr<GroupStates> StatesPlan::Make(arrow::MemoryPool* pool) const {
  using aggregate::Choice;
  const auto operand = [&] { return Operand{*OrderSourceOf(*type), ScaleOf(*type), column_name}; };
  switch (kind) {
    case Kind::kRows:
    case Kind::kCount:
      return aggregate::MakeCount(pool, kind == Kind::kRows);
    case Kind::kNumbers:
      return aggregate::MakeNumbers(pool, operand(), needs);
    case Kind::kExactNumbers:
      return aggregate::MakeExactNumbers(pool, operand(), needs);
    case Kind::kDecimalSum:
      return aggregate::MakeDecimalSum(pool, operand());
    case Kind::kSmallest:
      return aggregate::MakeChoice(pool, type, Choice::kSmallest);
    case Kind::kLargest:
      return aggregate::MakeChoice(pool, type, Choice::kLargest);
    case Kind::kFirst:
      return aggregate::MakeChoice(pool, type, Choice::kFirst);
    case Kind::kLast:
      return aggregate::MakeChoice(pool, type, Choice::kLast);
    case Kind::kProduct:
      return aggregate::MakeProduct(pool, operand());
    case Kind::kTruth:
      return aggregate::MakeTruth(pool);
    case Kind::kDistinct:
      return aggregate::MakeDistinct(pool);
    case Kind::kQuantiles:
      return aggregate::MakeQuantiles(pool, operand());
    case Kind::kDigest:
      return aggregate::MakeDigests(pool, operand(), compression);
  }
  return nullptr;
}

arrow::Result<AggregatePlan> AggregatePlan::Make(const arrow::Schema& input_schema,
                                                 const std::vector<AggregateSpec>& aggregates) {
  AggregatePlan plan;
  for (const auto& spec : aggregates) {
    StatesPlan states;
    std::shared_ptr<arrow::DataType> result_type = arrow::int64();
    if (spec.op != AggregateOp::kSize) {
      if (spec.column < 0 || spec.column >= input_schema.num_fields()) {
        return arrow::Status::IndexError("column ", spec.column, " was to be aggregated of a table of ",
                                         input_schema.num_fields(), " columns; columns are numbered from 0");
      }
      const auto& field = *input_schema.field(spec.column);
      const auto plain = PlainType(field.type());
      ARROW_ASSIGN_OR_RAISE(result_type, ResultType(spec, field, plain));
      states = StatesFor(spec, plain);
      // Sums of integers and decimals are exact anyway.
      const bool rounds = states.needs.moments || SourceOf(*plain) == Source::kDouble;
      if (spec.reproducible && states.kind == Kind::kNumbers && states.needs.sum && rounds) {
        states.kind = Kind::kExactNumbers;
      }
      states.column = spec.column;
      states.column_name = field.name();
    }
    // The needs of one column and kind come together.
    size_t place = 0;
    while (place < plan.states.size() && !plan.states[place].Shares(states)) {
      ++place;
    }
    if (place == plan.states.size()) {
      plan.states.push_back(states);
    } else {
      auto& needs = plan.states[place].needs;
      needs.sum = needs.sum || states.needs.sum;
      needs.moments = needs.moments || states.needs.moments;
      needs.range = needs.range || states.needs.range;
    }
    const double quantile = spec.op == AggregateOp::kMedian ? 0.5 : spec.quantile;
    plan.results.push_back({place,
                            {spec.op, spec.ddof, quantile},
                            arrow::field(spec.name, std::move(result_type), !AlwaysHasValue(spec.op))});
  }
  plan.ShareCounts();
  return plan;
}

void AggregatePlan::ShareCounts() {
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].kind != Kind::kCount) {
      continue;
    }
    const auto counting = std::find_if(states.begin(), states.end(), [&](const StatesPlan& other) {
      return other.column == states[i].column &&
             (other.kind == Kind::kNumbers || other.kind == Kind::kExactNumbers || other.kind == Kind::kDecimalSum);
    });
    if (counting == states.end()) {
      continue;
    }
    const auto place = static_cast<size_t>(counting - states.begin());
    for (auto& result : results) {
      result.states = result.states == i ? place : result.states;
      result.states -= result.states > i ? 1 : 0;
    }
    states.erase(states.begin() + static_cast<int64_t>(i--));
  }
}

std::vector<std::unique_ptr<GroupStates>> AggregatePlan::MakeStates(arrow::MemoryPool* pool) const {
  std::vector<std::unique_ptr<GroupStates>> made;
  made.reserve(states.size());
  for (const auto& plan : states) {
    made.push_back(plan.Make(pool));
  }
  return made;
}

bool AggregatePlan::needs_rows() const {
  return std::any_of(states.begin(), states.end(), [](const StatesPlan& plan) {
    return plan.kind == Kind::kDistinct || plan.kind == Kind::kQuantiles;
  });
}

arrow::FieldVector AggregatePlan::StateFields() const {
  arrow::FieldVector fields;
  for (const auto& plan : states) {
    const auto some = plan.Fields();
    fields.insert(fields.end(), some.begin(), some.end());
  }
  return fields;
}

arrow::FieldVector AggregatePlan::ResultFields() const {
  arrow::FieldVector fields;
  for (const auto& result : results) {
    fields.push_back(result.field);
  }
  return fields;
}

}  // namespace cylon
