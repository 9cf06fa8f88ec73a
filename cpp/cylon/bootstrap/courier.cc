// How processes that cannot reach each other yet talk.
#include "cylon/bootstrap/courier.h"

namespace cylon {

Courier::~Courier() = default;

}  // namespace cylon
