// Statuses become Python exceptions.
#include "bindings.h"

namespace cylon::python {

namespace {

void Translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const StatusException& error) {
    const auto& status = error.status;
    auto detail = GetErrorDetail(status);
    nb::object exception =
        nb::module_::import_("pycylon.errors")
            .attr("from_status")(status.CodeAsString(), status.message(), detail ? static_cast<int>(detail->kind) : 0,
                                 detail ? detail->rank : -1, detail ? detail->other : -1, detail ? detail->host : "",
                                 detail ? detail->operation : "", detail ? detail->sequence : 0,
                                 detail ? detail->cause : "", detail ? detail->agreed : true);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  }
}

}  // namespace

void Check(const arrow::Status& status) {
  if (status.ok()) {
    return;
  }
  if (PyErr_Occurred() != nullptr) {
    throw nb::python_error();
  }
  throw StatusException(status);
}

std::string PythonPlace() {
  const auto module = nb::module_::import_("pycylon");
  const auto init = nb::steal(PyModule_GetFilenameObject(module.ptr()));
  const char* init_file = init.is_valid() ? PyUnicode_AsUTF8(init.ptr()) : nullptr;
  if (init_file == nullptr) {
    throw nb::python_error();
  }
  const std::string_view package(init_file, std::string_view(init_file).rfind('/') + 1);
  nb::object frame = nb::borrow(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
  while (frame.is_valid()) {
    auto* at = reinterpret_cast<PyFrameObject*>(frame.ptr());
    const auto code = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetCode(at)));
    const char* file = PyUnicode_AsUTF8(reinterpret_cast<PyCodeObject*>(code.ptr())->co_filename);
    if (file == nullptr) {
      throw nb::python_error();
    }
    const std::string_view path(file);
    if (!path.starts_with(package)) {
      return std::string(path.substr(path.rfind('/') + 1)) + ":" + std::to_string(PyFrame_GetLineNumber(at));
    }
    frame = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetBack(at)));
  }
  return "";
}

arrow::Status CheckSignals() {
  nb::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) {
    return arrow::Status::Cancelled("interrupted");
  }
  return arrow::Status::OK();
}

void BindErrors(nb::module_&) { nb::register_exception_translator(Translate); }

}  // namespace cylon::python
