// Tables, in and out through the Arrow C interfaces.
#include <arrow/c/abi.h>
#include <arrow/c/bridge.h>

#include "bindings.h"

namespace cylon::python {

namespace {

/// The struct inside a capsule called `name`; TypeError where it is another kind of capsule.
template <typename T>
T* FromCapsule(const nb::handle& capsule, const char* name) {
  void* pointer = PyCapsule_GetPointer(capsule.ptr(), name);
  if (pointer == nullptr) {
    throw nb::python_error();
  }
  return static_cast<T*>(pointer);
}

/// A new capsule that owns an empty struct; releases what it holds when nobody took it.
template <typename T>
std::pair<nb::object, T*> NewCapsule(const char* name) {
  auto owned = std::make_unique<T>();
  owned->release = nullptr;
  T* content = owned.get();
  PyObject* capsule = PyCapsule_New(content, name, [](PyObject* self) {
    std::unique_ptr<T> dead(static_cast<T*>(PyCapsule_GetPointer(self, PyCapsule_GetName(self))));
    if (dead->release != nullptr) {
      dead->release(dead.get());
    }
  });
  if (capsule == nullptr) {
    throw nb::python_error();
  }
  owned.release();
  return {nb::steal(capsule), content};
}

Table FromStream(Context& context, const nb::object& capsule) {
  auto* stream = FromCapsule<ArrowArrayStream>(capsule, "arrow_array_stream");
  return WithoutGil([&]() -> arrow::Result<Table> {
    ARROW_ASSIGN_OR_RAISE(auto reader, arrow::ImportRecordBatchReader(stream));
    ARROW_ASSIGN_OR_RAISE(auto batches, reader->ToRecordBatches());
    return Table::FromBatches(context.resources(), reader->schema(), std::move(batches), /*owned=*/false);
  });
}

nb::object ToStream(const Table& table) {
  auto [capsule, stream] = NewCapsule<ArrowArrayStream>("arrow_array_stream");
  auto* target = stream;
  WithoutGil([&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto reader, table.ToReader());
    return arrow::ExportRecordBatchReader(reader, target);
  });
  return capsule;
}

nb::object ToSchema(const Table& table) {
  auto [capsule, schema] = NewCapsule<ArrowSchema>("arrow_schema");
  Check(arrow::ExportSchema(*table.schema(), schema));
  return capsule;
}

}  // namespace

void BindTable(nb::module_& module) {
  nb::class_<Table>(module, "Table")
      .def_static("from_stream", &FromStream, nb::arg("context"), nb::arg("capsule"))
      .def("to_stream", &ToStream)
      .def("to_schema", &ToSchema)
      .def_prop_ro("num_rows", &Table::num_rows)
      .def_prop_ro("num_columns", &Table::num_columns)
      .def_prop_ro("num_bytes", &Table::num_bytes)
      .def_prop_ro("column_names", [](const Table& self) { return self.schema()->field_names(); })
      .def(
          "slice", [](const Table& self, int64_t offset, int64_t length) { return Check(self.Slice(offset, length)); },
          nb::arg("offset"), nb::arg("length"))
      .def(
          "select",
          [](const Table& self, const std::vector<std::string>& columns) { return Check(Select(self, columns)); },
          nb::arg("columns"))
      .def(
          "rename",
          [](const Table& self, const std::vector<std::pair<std::string, std::string>>& names) {
            return Check(Rename(self, names));
          },
          nb::arg("names"));
}

}  // namespace cylon::python
