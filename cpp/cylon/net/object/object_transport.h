/// Messages through an object store: for ranks that have nothing else in common.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/object/object_place.h"
#include "cylon/net/transport.h"

namespace cylon {

/// What a rank that uses this transport has as its card's address: "object:" and 128 random bits, by which its objects
/// are those of no other run.
CYLON_EXPORT arrow::Result<std::string> ObjectCardAddress();

/// The transport for `world`, all of whose cards are by ObjectCardAddress. Messages of a pair become sealed objects of
/// at most 4 MiB, which count from 1, so that each is asked for by its name; the store is trusted with nothing: what it
/// changes, invents or leaves out is found and is an error.
///
/// A peer whose heartbeat stands still for `peer_timeout` is lost; a store that cannot be used, or is away for so long,
/// is IsolatedError for all peers. Objects are deleted by who has read them, the rest by who has put them there, at the
/// end; what a crash has left is deleted by a later run of the job (see ObjectNames, DeleteExpired).
CYLON_EXPORT arrow::Result<std::unique_ptr<Transport>> MakeObjectTransport(Executor& executor, const ObjectPlace& place,
                                                                           World world, const std::string& secret,
                                                                           Duration peer_timeout);

}  // namespace cylon
