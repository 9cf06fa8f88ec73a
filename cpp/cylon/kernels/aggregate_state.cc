// Running states of aggregates: which one serves which operation and type.
#include "cylon/kernels/aggregate_state.h"

#include <cmath>

#include "cylon/kernels/aggregate_states.h"

namespace cylon {

namespace {

using aggregate::Source;

const char* NameOf(AggregateOp op) {
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
  }
  return "unknown";
}

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

int ScaleOf(const arrow::DataType& type) {
  return arrow::is_decimal(type.id()) ? static_cast<const arrow::DecimalType&>(type).scale() : 0;
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
                                  NameOf(spec.op), "; that needs ", expected, "; ", hint);
}

}  // namespace

arrow::Result<AggregateInput> AggregateInput::Make(arrow::MemoryPool* pool,
                                                   const std::shared_ptr<arrow::ArrayData>& data,
                                                   const std::string& name) {
  AggregateInput input;
  auto column = KeyColumn::Make(pool, data, name);
  if (!column.ok()) {
    if (!column.status().IsNotImplemented()) {
      return column.status();
    }
    const auto array = arrow::MakeArray(data);
    input.missing.resize(data->length);
    for (int64_t i = 0; i < data->length; ++i) {
      input.missing[i] = static_cast<uint8_t>(array->IsNull(i));
    }
    return input;
  }
  input.column = *std::move(column);
  const KeyColumn& plain = *input.column;
  if (plain.may_have_nulls()) {
    input.missing.resize(data->length);
    for (int64_t i = 0; i < data->length; ++i) {
      input.missing[i] = static_cast<uint8_t>(plain.IsNull(i));
    }
  }
  if (plain.is_word()) {
    input.words.resize(data->length);
    plain.LoadWords(input.words.data());
  }
  if (plain.kind() == KeyKind::kHalf || plain.kind() == KeyKind::kFloat || plain.kind() == KeyKind::kDouble) {
    for (int64_t i = 0; i < data->length; ++i) {
      if (std::isnan(std::bit_cast<double>(input.words[i]))) {
        input.missing.resize(data->length, 0);
        input.missing[i] = 1;
      }
    }
  }
  return input;
}

arrow::Result<AggregatePlan> AggregatePlan::Make(const arrow::Schema& input_schema, const AggregateSpec& spec) {
  AggregatePlan plan;
  plan.spec = spec;
  const auto result = [&](std::shared_ptr<arrow::DataType> type, bool nullable = true) {
    plan.result = arrow::field(spec.name, std::move(type), nullable);
  };
  const auto state = [&](std::shared_ptr<arrow::DataType> type, bool nullable = false) {
    plan.states.push_back(
        arrow::field(spec.name + "." + std::to_string(plan.states.size()), std::move(type), nullable));
  };
  if (spec.op == AggregateOp::kSize) {
    result(arrow::int64(), false);
    state(arrow::int64());
    return plan;
  }
  if (spec.column < 0 || spec.column >= input_schema.num_fields()) {
    return arrow::Status::IndexError("column ", spec.column, " was to be aggregated of a table of ",
                                     input_schema.num_fields(), " columns; columns are numbered from 0");
  }
  const auto& field = *input_schema.field(spec.column);
  plan.column_name = field.name();
  plan.input_type = field.type();
  const auto plain = PlainType(field.type());
  const auto source = SourceOf(*plain);
  const auto sum_states = [&]() {
    switch (*source) {
      case Source::kDouble:
        state(arrow::float64());
        state(arrow::float64());
        break;
      case Source::kDecimal256:
        state(arrow::decimal256(76, ScaleOf(*plain)));
        break;
      default:
        state(arrow::decimal128(38, ScaleOf(*plain)));
    }
  };
  switch (spec.op) {
    case AggregateOp::kCount:
      result(arrow::int64(), false);
      state(arrow::int64());
      break;
    case AggregateOp::kSum:
      if (!source.has_value()) {
        return Refuse(spec, field, "numbers, booleans or durations",
                      plain->id() == arrow::Type::TIMESTAMP ? "take differences first, or ask for min, max or count"
                                                            : "ask for min, max or count, or cast the column");
      }
      result(SumType(plain));
      sum_states();
      break;
    case AggregateOp::kMean:
    case AggregateOp::kVar:
    case AggregateOp::kStd:
      if (!source.has_value() || plain->id() == arrow::Type::DURATION) {
        return Refuse(spec, field, "numbers or booleans", "cast the column to float64 first");
      }
      result(arrow::float64());
      state(arrow::int64());
      if (spec.op == AggregateOp::kMean) {
        sum_states();
      } else {
        state(arrow::float64());
        state(arrow::float64());
      }
      break;
    case AggregateOp::kMin:
    case AggregateOp::kMax:
      if (!IsOrderable(*plain)) {
        return Refuse(spec, field, "values that have an order", "ask for count, or take a part of the column");
      }
      result(plain);
      state(plain, true);
      break;
    default:
      return arrow::Status::Invalid("aggregate operation ", static_cast<int>(spec.op), " is not known");
  }
  return plan;
}

std::unique_ptr<AggregateState> AggregatePlan::MakeState() const {
  if (spec.op == AggregateOp::kSize || spec.op == AggregateOp::kCount) {
    return aggregate::MakeCount(spec.op == AggregateOp::kSize);
  }
  const auto plain = PlainType(input_type);
  if (spec.op == AggregateOp::kMin || spec.op == AggregateOp::kMax) {
    return aggregate::MakeExtreme(plain, spec.op == AggregateOp::kMax);
  }
  const aggregate::Operand operand{*SourceOf(*plain), ScaleOf(*plain), column_name};
  switch (spec.op) {
    case AggregateOp::kSum:
      return aggregate::MakeSum(operand, result->type());
    case AggregateOp::kMean:
      return aggregate::MakeMean(operand, result->type());
    default:
      return aggregate::MakeVariance(operand, spec.ddof, spec.op == AggregateOp::kStd);
  }
}

}  // namespace cylon
