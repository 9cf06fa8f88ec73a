// The extension module: one binding file a subject.
#include "bindings.h"

NB_MODULE(_core, module) {
  cylon::python::BindErrors(module);
  cylon::python::BindContext(module);
  cylon::python::BindTable(module);
  cylon::python::BindOperators(module);
  cylon::python::BindFiles(module);
}
