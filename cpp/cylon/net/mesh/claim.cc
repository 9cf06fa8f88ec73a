// What two ranks say about their link.
#include "cylon/net/mesh/claim.h"

#include "cylon/wire/bytes.h"
#include "cylon/wire/conversation.h"

namespace cylon::internal {

Co<LinkAnswer> ClaimLink(Stream* stream, Executor& executor, LinkClaim claim, TimePoint deadline) {
  Conversation talk(stream, executor, deadline);
  ByteWriter out;
  out.Number(claim.incarnation);
  out.Number(claim.known);
  out.Number(claim.number);
  out.Number(claim.attempt);
  out.Number(claim.received);
  auto send = talk.Send(std::nullopt, out.Take());
  CYLON_CO_RETURN_NOT_OK(co_await send);
  auto receive = talk.ReceiveVerdict();
  CYLON_CO_ASSIGN_OR_RETURN(const std::string bytes, co_await receive);
  ByteReader in(bytes);
  LinkAnswer answer;
  const auto outcome = in.Number<uint8_t>();
  answer.outcome = static_cast<LinkAnswer::Outcome>(outcome);
  answer.incarnation = in.Number<uint64_t>();
  answer.number = in.Number<uint32_t>();
  answer.received = in.Number<uint64_t>();
  answer.reason = in.rest();
  if (!in.ok() || outcome < LinkAnswer::kTaken || outcome > LinkAnswer::kRefused) {
    co_return ProtocolError(talk.peer() + " answered a claim to a link with " + std::to_string(bytes.size()) +
                            " bytes that are none; check that all ranks run the same version of Cylon");
  }
  co_return answer;
}

Co<LinkClaim> HearClaim(Stream* stream, Executor& executor, TimePoint deadline) {
  Conversation talk(stream, executor, deadline);
  auto receive = talk.Receive();
  CYLON_CO_ASSIGN_OR_RETURN(const std::string bytes, co_await receive);
  ByteReader in(bytes);
  LinkClaim claim;
  claim.incarnation = in.Number<uint64_t>();
  claim.known = in.Number<uint64_t>();
  claim.number = in.Number<uint32_t>();
  claim.attempt = in.Number<uint32_t>();
  claim.received = in.Number<uint64_t>();
  if (!in.done() || claim.incarnation == 0) {
    const auto bad = ProtocolError(talk.peer() + " claimed a link with " + std::to_string(bytes.size()) +
                                   " bytes that are no claim; check that all ranks run the same version of Cylon");
    auto refuse = talk.Refuse(bad);
    auto told = co_await refuse;  // who does not listen changes nothing
    static_cast<void>(told);
    co_return bad;
  }
  co_return claim;
}

Co<void> AnswerClaim(Stream* stream, Executor& executor, LinkAnswer answer, TimePoint deadline) {
  Conversation talk(stream, executor, deadline);
  ByteWriter out;
  out.Number(static_cast<uint8_t>(answer.outcome));
  out.Number(answer.incarnation);
  out.Number(answer.number);
  out.Number(answer.received);
  out.Raw(answer.reason);
  auto send = talk.Send(Verdict::kAccepted, out.Take());
  co_return co_await send;
}

}  // namespace cylon::internal
