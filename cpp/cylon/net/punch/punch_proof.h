/// How the two ends of a connection between gateways find out that it is the one that they meant.
///
///   each side, as soon as it knows to whom it speaks:
///     "CYPH" | version (1) | role (1) | zero (2) | tag (16) | nonce (16)
///     HMAC-SHA256(attempt, "cylon: punched" | own role | caller's nonce | called one's nonce)
///   then the caller, on one of the streams that got so far: 1; and the called one: 1
///
/// Who dials speaks first; of two that both do (a simultaneous open), both. The tag tells the one who is dialled which
/// of its attempts is meant, and is no secret: it says nothing of the attempt, which travelled in sealed letters. A
/// socket that has met itself, and a hello that is sent back, have the wrong role; a proof that is replayed has the
/// wrong nonces.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace cylon::internal {

enum class PunchRole : uint8_t {
  kCaller = 1,  ///< drew the attempt; nominates
  kCalled = 2,
};

inline constexpr size_t kPunchHelloBytes = 40;
inline constexpr size_t kPunchTagBytes = 16;
inline constexpr size_t kPunchNonceBytes = 16;
inline constexpr size_t kPunchProofBytes = 32;

struct PunchHello {
  PunchRole role = PunchRole::kCaller;
  std::string tag;
  std::string nonce;
};

/// What tells `attempt` from others to those who know it, and nothing to anybody else.
std::string PunchTag(const std::string& attempt);

std::string EncodePunchHello(const PunchHello& hello);
/// Invalid for anything else.
arrow::Result<PunchHello> DecodePunchHello(std::string_view bytes);

/// Invalid where `theirs` is not an answer to `own`: another attempt, the same role, the same nonce.
arrow::Status CheckPunchHello(const PunchHello& own, const PunchHello& theirs);

/// What the side of `prover` proves to `other`.
std::string PunchProof(const std::string& attempt, const PunchHello& prover, const PunchHello& other);
/// In a time that does not depend on where they differ.
bool SameProof(std::string_view left, std::string_view right);

}  // namespace cylon::internal
