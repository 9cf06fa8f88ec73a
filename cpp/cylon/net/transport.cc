// What transports have in common.
#include "cylon/net/transport.h"

namespace cylon {

Sink::~Sink() = default;
Transport::~Transport() = default;

void Transport::Progress() {}

}  // namespace cylon
