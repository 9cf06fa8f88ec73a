// A schema as it travels.
#include "cylon/table/wire_schema.h"

#include <utility>
#include <vector>

namespace cylon {

namespace internal {

const arrow::DataType& StorageOf(const arrow::DataType& type) {
  const auto* layer = &type;
  while (layer->id() == arrow::Type::EXTENSION) {
    layer = static_cast<const arrow::ExtensionType&>(*layer).storage_type().get();
  }
  return *layer;
}

}  // namespace internal

namespace {

using internal::StorageOf;

std::shared_ptr<arrow::DataType> WireType(const std::shared_ptr<arrow::DataType>& type);

std::shared_ptr<arrow::Field> WireField(const arrow::Field& field) {
  return arrow::field(field.name(), WireType(field.type()), field.nullable());
}

arrow::FieldVector WireFields(const arrow::FieldVector& fields) {
  arrow::FieldVector out;
  out.reserve(fields.size());
  for (const auto& field : fields) {
    out.push_back(WireField(*field));
  }
  return out;
}

// Types without others inside are as they are.
std::shared_ptr<arrow::DataType> WireType(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case arrow::Type::EXTENSION:
      return WireType(static_cast<const arrow::ExtensionType&>(*type).storage_type());
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryType&>(*type);
      return arrow::dictionary(dictionary.index_type(), WireType(dictionary.value_type()), dictionary.ordered());
    }
    case arrow::Type::LIST:
      return arrow::list(WireField(*type->field(0)));
    case arrow::Type::LARGE_LIST:
      return arrow::large_list(WireField(*type->field(0)));
    case arrow::Type::LIST_VIEW:
      return arrow::list_view(WireField(*type->field(0)));
    case arrow::Type::LARGE_LIST_VIEW:
      return arrow::large_list_view(WireField(*type->field(0)));
    case arrow::Type::FIXED_SIZE_LIST:
      return arrow::fixed_size_list(WireField(*type->field(0)),
                                    static_cast<const arrow::FixedSizeListType&>(*type).list_size());
    case arrow::Type::MAP:
      return std::make_shared<arrow::MapType>(WireField(*type->field(0)),
                                              static_cast<const arrow::MapType&>(*type).keys_sorted());
    case arrow::Type::STRUCT:
      return arrow::struct_(WireFields(type->fields()));
    case arrow::Type::SPARSE_UNION:
      return arrow::sparse_union(WireFields(type->fields()), static_cast<const arrow::UnionType&>(*type).type_codes());
    case arrow::Type::DENSE_UNION:
      return arrow::dense_union(WireFields(type->fields()), static_cast<const arrow::UnionType&>(*type).type_codes());
    case arrow::Type::RUN_END_ENCODED: {
      const auto& runs = static_cast<const arrow::RunEndEncodedType&>(*type);
      return arrow::run_end_encoded(runs.run_end_type(), WireType(runs.value_type()));
    }
    default:
      return type;
  }
}

int DictionariesIn(const arrow::DataType& type) {
  const arrow::DataType& storage = StorageOf(type);
  if (storage.id() == arrow::Type::DICTIONARY) {
    return 1 + DictionariesIn(*static_cast<const arrow::DictionaryType&>(storage).value_type());
  }
  int count = 0;
  for (const auto& field : storage.fields()) {
    count += DictionariesIn(*field->type());
  }
  return count;
}

// `data` as `type`, which lies over the same layout. nullptr where it does not.
std::shared_ptr<arrow::ArrayData> Retype(const arrow::ArrayData& data, const std::shared_ptr<arrow::DataType>& type) {
  const arrow::DataType& target = StorageOf(*type);
  const arrow::DataType& source = StorageOf(*data.type);
  if (target.id() != source.id() || target.num_fields() != source.num_fields() ||
      static_cast<size_t>(target.num_fields()) != data.child_data.size() ||
      (target.num_fields() == 0 && target.id() != arrow::Type::DICTIONARY && !target.Equals(source))) {
    return nullptr;
  }
  auto out = std::make_shared<arrow::ArrayData>(data);
  out->type = type;
  for (int i = 0; i < target.num_fields(); ++i) {
    out->child_data[i] = Retype(*data.child_data[i], target.field(i)->type());
    if (out->child_data[i] == nullptr) {
      return nullptr;
    }
  }
  if (target.id() == arrow::Type::DICTIONARY) {
    const auto& dictionary = static_cast<const arrow::DictionaryType&>(target);
    if (!dictionary.index_type()->Equals(static_cast<const arrow::DictionaryType&>(source).index_type()) ||
        data.dictionary == nullptr) {
      return nullptr;
    }
    out->dictionary = Retype(*data.dictionary, dictionary.value_type());
    if (out->dictionary == nullptr) {
      return nullptr;
    }
  }
  return out;
}

}  // namespace

std::shared_ptr<arrow::Schema> WireSchema(const arrow::Schema& schema) {
  return arrow::schema(WireFields(schema.fields()));
}

int CountDictionaries(const arrow::Schema& schema) {
  int count = 0;
  for (const auto& field : schema.fields()) {
    count += DictionariesIn(*field->type());
  }
  return count;
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> WithSchema(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                              const std::shared_ptr<arrow::Schema>& schema) {
  if (batch->schema() == schema || batch->schema()->Equals(*schema, /*check_metadata=*/true)) {
    return batch;
  }
  auto mismatch = [&] {
    return arrow::Status::TypeError("a batch has columns {", batch->schema()->ToString(), "}, expected {",
                                    schema->ToString(), "}; cast it to that schema");
  };
  if (batch->num_columns() != schema->num_fields()) {
    return mismatch();
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  columns.reserve(static_cast<size_t>(batch->num_columns()));
  for (int i = 0; i < batch->num_columns(); ++i) {
    const auto& column = batch->column_data(i);
    const auto& field = schema->field(i);
    if (batch->schema()->field(i)->name() != field->name()) {
      return mismatch();
    }
    columns.push_back(column->type->Equals(*field->type(), /*check_metadata=*/true) ? column
                                                                                    : Retype(*column, field->type()));
    if (columns.back() == nullptr) {
      return mismatch();
    }
  }
  return arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns));
}

}  // namespace cylon
