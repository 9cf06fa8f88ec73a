// What transports have in common.
#include "cylon/net/transport.h"

namespace cylon {

Sink::~Sink() = default;
void Sink::OnPeerMet(Rank /*peer*/) {}
Transport::~Transport() = default;

void Transport::Progress() {}
std::string Transport::way(Rank /*peer*/) const { return ""; }

}  // namespace cylon
