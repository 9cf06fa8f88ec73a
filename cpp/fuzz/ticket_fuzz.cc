// Tickets: as the text that a client is given, as the claims that a server is shown, and at the server's door, where
// nobody gets in who has only seen one.
#include "cylon/bootstrap/ticket.h"

#include "cylon/wire/strangers.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

constexpr size_t kMostRead = 80 << 10;
constexpr int64_t kNow = 1'800'000'000;
const std::string kKey(32, 'k');

TicketClaims FuzzClaims() { return {std::string(kTicketIdBytes, 'i'), "job", kNow + 60, 2, 1 << 20, 1 << 16}; }

void ReadText(std::string_view text) {
  const auto ticket = ParseTicket(text, "a test");
  if (ticket.ok()) {
    Require(DecodeTicketClaims(ticket->claims).ok(), "a ticket has claims that cannot be read");
    Require(ticket->claims.size() <= kMaxTicketBytes, "a ticket has claims that no server reads");
  }
}

void ReadClaims(std::string_view bytes) {
  const auto claims = DecodeTicketClaims(bytes);
  if (claims.ok()) {
    Require(EncodeTicketClaims(*claims) == bytes, "claims are read as others");
    Require(CheckTicketClaims(*claims).ok(), "claims are read that no ticket may have");
  }
}

/// A stranger says anything at a door that lets in by tickets.
void Knock(std::string_view bytes, bool closes) {
  TaskQueue tasks;
  Security security;
  security.read_ticket = AdmitByTickets(kKey, [] { return kNow; });
  Identity self;
  self.purpose = "rendezvous/1";
  self.any_job = true;
  auto stream = std::make_unique<MemoryStream>();
  auto* outside = stream.get();
  size_t taken = 0;
  bool open = true;
  stream->OnClose([&] {
    taken = outside->taken();
    open = false;
  });
  const auto opening = std::make_shared<Opening>();
  auto opened = Spawn(tasks, OpenAsListener(std::move(stream), tasks, security, self, kNever, opening));
  tasks.Do([&] {
    if (open) {
      outside->Feed(bytes);
    }
    if (open && closes) {
      outside->End();
    }
  });
  const TimePoint began = tasks.Now();
  tasks.RunAll();
  Require(opened.is_finished(), "a door does not close");
  Require(!opened.result().ok(), "a stranger was let in by a ticket that it does not have");
  Require(!open && taken <= kMostRead, "a stranger made a door read too much");
  Require(tasks.Now() - began <= 3 * kStrangerPatience, "a stranger was given too much time");
  tasks.Clear();
}

void RunTicket(std::string_view bytes) {
  Input in(bytes);
  switch (in.Byte() % 4) {
    case 0:
      return ReadText(in.Rest());
    case 1:
      return ReadClaims(in.Rest());
    case 2:
      return Knock(in.Rest(), false);
    default:
      return Knock(in.Rest(), true);
  }
}

std::vector<std::string> TicketSeeds() {
  const std::string claims = EncodeTicketClaims(FuzzClaims());
  const auto knock = [&](uint8_t mode, uint8_t shows, std::string_view ticket, std::string_view then) {
    return Output()
        .Byte(2)
        .Raw("CYLN")
        .Number(kHandshakeVersion, 2)
        .Byte(mode)
        .Byte(shows)
        .Text(ticket)
        .Raw(then)
        .bytes();
  };
  return {
      Output().Byte(0).Raw(IssueTicket(kKey, FuzzClaims()).ValueOrDie()).bytes(),
      Output().Byte(1).Raw(claims).bytes(),
      knock(0, 1, claims, Output().Text("CYHS").bytes()),
      knock(1, 1, claims, std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7)),
      knock(0, 1, std::string(kMaxTicketBytes + 1, 'c'), ""),
      knock(0, 0, "", ""),
      Output().Byte(3).Raw("GET / HTTP/1.1\r\n").bytes(),
  };
}

const Registration kTicket({"ticket", RunTicket, TicketSeeds});

}  // namespace
}  // namespace cylon::fuzz
