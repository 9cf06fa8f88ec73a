/// What a store's client and server say to each other after the handshake.
#pragma once

#include <string>

#include "cylon/base/co.h"
#include "cylon/bootstrap/framed.h"
#include "cylon/bootstrap/key_values.h"
#include "cylon/wire/bytes.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Both directions carry frames of a 4-byte length and so many bytes, little-endian. The first of each is:
///
///   client:    session (16): the same on each connection of one client
///   server:    life (16): drawn when the server started; another one has none of the keys | an encoded status that
///              says why it takes no client, and ends the connection (the rest; empty where it takes it)
///
/// and all others are:
///
///   request:   id (8) | answered (8) | op (1) | key length (4), key | time to live in ms (8; 0 where nothing is
///              written) | value (the rest; for add and raise: 8 bytes; for cancel: the get's id)
///   response:  id (8) | ok (1) | value (the rest; for add and raise: 8 bytes), or an encoded status where ok is 0
///
/// Responses come in any order. A cancelled get gets no response. What is asked again under its id, on another
/// connection of the session, is not carried out again: the server remembers how it answered writes, until `answered`
/// says that the client has the answers to all writes below it.
enum class StoreOp : uint8_t {
  kSet = 1,
  kSetIfAbsent,
  kGet,
  kTryGet,
  kAdd,
  kDelete,
  kCancel,
  kRaise,  ///< makes a counter at least so much: it stands where a client saw it though the server forgot
};

inline constexpr size_t kStoreNonceBytes = 16;
inline constexpr size_t kMaxStoreFrame = kMaxValueBytes + kMaxKeyBytes + 64;
/// Told to be another one than that of versions that know no sessions.
inline constexpr char kStorePurpose[] = "store/2";

/// The next frame's bytes. ProtocolError where it is longer than `kMaxStoreFrame`, before memory is taken.
Co<std::string> ReadStoreFrame(Stream* stream);

}  // namespace cylon
