// What all ways in which ranks reach each other have in common.
#include "cylon/net/mesh/path.h"

namespace cylon {

Path::~Path() = default;

}  // namespace cylon
