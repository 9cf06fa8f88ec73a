/// A stream through the memory of a host: two rings, and a socket that rings and whose end is the peer's.
#pragma once

#include <arrow/result.h>

#include <memory>

#include "cylon/base/asio_executor.h"
#include "cylon/net/shm/ring_memory.h"
#include "cylon/net/shm/unix_socket.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// The stream over `memory`, of which both ends have `socket` in common. Data is copied into the ring and out of it:
/// a ring stays in the cache, and so two copies cost what one costs that reads the other process's memory
/// (process_vm_readv, which also needs the permission to trace it): 5 to 7 GB/s each on two cores of an EPYC, where a
/// plain memcpy makes 19. Rings of 256 KiB to 4 MiB differ by less than that varies; 64 KiB is half as fast.
///
/// An end that has nothing to do says in the ring that it sleeps, and then gets one byte on the socket when there is
/// something; while it looks at the ring there are no system calls. What is in the ring when the peer ends is still
/// read.
std::unique_ptr<Stream> MakeShmStream(AsioExecutor& executor, std::unique_ptr<UnixStream> socket, RingMemory memory,
                                      bool dialler);

}  // namespace cylon::internal
