// Frames between a store's client and server.
#include "cylon/bootstrap/store_protocol.h"

namespace cylon {

Co<std::string> ReadStoreFrame(Stream* stream) { return ReadFramed(stream, kMaxStoreFrame, "store message"); }

}  // namespace cylon
