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
  const auto sys = nb::module_::import_("sys");
  const std::string package = nb::cast<std::string>(nb::module_::import_("pycylon").attr("__path__")[0]) + "/";
  for (nb::object frame = sys.attr("_getframe")(); !frame.is_none(); frame = frame.attr("f_back")) {
    const auto file = nb::cast<std::string>(frame.attr("f_code").attr("co_filename"));
    if (!file.starts_with(package)) {
      return file.substr(file.rfind('/') + 1) + ":" + nb::cast<std::string>(nb::str(frame.attr("f_lineno")));
    }
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
