/// Ranks of one host reach each other through its memory.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/net/mesh/path.h"

namespace cylon {

struct ShmOptions {
  int64_t ring_bytes = 1 << 20;  ///< each way and pair: a power of two
  Duration spin{0};              ///< how long a waiting thread looks at its rings before it sleeps
};

/// What fits `local_size` ranks on a host of `cores`, where the options leave it open (ring_bytes 0, spin_us -1).
///
/// Rings: 1 MiB each way; of a rank together at most 16 MiB, so that 64 ranks that all talk take half a GiB.
/// Spin: 50 us, about what going to sleep and being woken costs both ends; none where ranks outnumber cores, as the one
/// that is waited for needs the core.
CYLON_EXPORT ShmOptions FitShmOptions(int64_t ring_bytes, int spin_us, int local_size, int cores);

/// Listens on an abstract Unix socket; its address is "shm://<boot id>/<name>". The handshake travels on a connection
/// there, and Settle replaces it: the dialler makes memory with two rings and passes its descriptor.
///
///   dialler                                    listener
///      | -- magic, version, ring bytes, fd ------> |   16 bytes
///      | <------------- 1 ------------------------ |   when it has checked and mapped it
///
/// Only a process of this host can have a descriptor; what it says about it is checked before it is mapped.
/// IOError where the system lacks what that takes.
CYLON_EXPORT arrow::Result<std::unique_ptr<Path>> ListenShm(AsioExecutor& executor, const ShmOptions& options);

}  // namespace cylon
