// What comes out of an object store: entries of a peer, heartbeats, names. What a store has changed gets nowhere; what
// a peer that knows the secret says gets as far as it may.
#include <algorithm>

#include "cylon/net/lane_frame.h"
#include "cylon/net/mail/mail.h"
#include "cylon/net/object/object_names.h"
#include "cylon/net/object/object_presence.h"
#include "fuzz/framing.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

using internal::DecodeObjectBeat;
using internal::EncodeObjectBeat;
using internal::Mail;
using internal::MailDirection;
using internal::MailEnvelope;
using internal::MailKind;
using internal::MailWords;
using internal::ObjectContents;
using internal::ObjectNames;
using internal::Outbox;
using internal::Seal;

constexpr int64_t kMost = 1 << 20;
const std::string kSecret = "a secret";

MailWords Words() { return {"fuzz", "in the object store file:///there", "object", "objects of this job"}; }

World TwoRanks() {
  World world;
  world.job = "job";
  world.epoch = "1";
  world.rank = 0;
  world.cards = {{"localhost", 0, "object:00"}, {"localhost", 0, "object:11"}};
  return world;
}

/// Rank 0, to whom rank 1 says what an input has. What rank 0 puts is there at once.
class OneEnd final : public Mail {
 public:
  explicit OneEnd(Executor& executor) : Mail(executor, TwoRanks(), std::chrono::seconds(1), kMost, kMost) {}
  void Prepare() { Require(MakePeers(Words(), "object:", kSecret, Outbox::Third::kKeeps).ok(), "no peers"); }
  arrow::Future<> Start(Sink* sink) override {
    sink_ = sink;
    started_ = true;
    return arrow::Future<>::MakeFinished();
  }
  void Come(uint64_t number, std::string_view object) { Take(1, number, ObjectContents(object, kMost)); }
  uint64_t next() { return peer(1).received + 1; }

 private:
  MailEnvelope EnvelopeTo(Rank /*to*/) const override {
    return {[](uint64_t, size_t) { return std::string(); }, ""};
  }
  void Pump() override {
    auto& outbox = *peer(1).outbox;
    while (open() && peer(1).writes) {
      const auto entry = outbox.Next(peer(1).received);
      Require(entry.ok(), "nothing can be sealed");
      if (entry->bytes == nullptr) {
        return;
      }
      FinishSends(outbox.Stored(entry->number));
    }
  }
  void Heard(Rank /*rank*/) override {}
  void Forget(Rank /*rank*/) override {}
  void GiveUp() override {}
  void CloseWays() override {}
};

/// Allows so much for one message.
struct Watcher : Sink {
  arrow::Result<Buffers> Allocate(Rank from, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    int64_t total = 0;
    for (const int64_t size : sizes) {
      if (size > kMost - total) {
        return ProtocolError("too large", from);
      }
      total += size;
    }
    return internal::AllocateSegments(sizes, arrow::default_memory_pool());
  }
  void OnMessage(Rank from, Message message) override {
    Require(from == 1 && !lost, "a message of nobody");
    Require(proven, "a message that no seal was opened for");
    payload += static_cast<size_t>(message.payload_bytes());
  }
  void OnPeerLost(Rank peer, const arrow::Status& status) override {
    Require(peer == 1 && !lost, "lost twice");
    lost = true;
    cause = status;
  }
  bool proven = false;  // what comes now was sealed by who knows the secret
  bool lost = false;
  arrow::Status cause;
  size_t payload = 0;
};

std::string Wrapped(std::string_view contents) { return Output().Number(contents.size(), 8).Raw(contents).bytes(); }

void RunEntries(std::string_view bytes) {
  TaskQueue tasks;
  Watcher watcher;
  auto end = std::make_shared<OneEnd>(tasks);
  end->Prepare();
  auto seal = Seal::Make(kSecret, MailDirection(Words().purpose, TwoRanks(), 1, 0));
  Require(seal.ok(), "no seal");
  size_t told = 0;
  tasks.Do([&] { std::ignore = end->Start(&watcher); });
  Input in(bytes);
  while (!in.empty()) {
    const uint8_t kind = in.Byte();
    const uint64_t number = (kind & 2) != 0 ? in.Number(8) : end->next();
    std::string object(in.Text());
    watcher.proven = (kind & 1) != 0;
    if (watcher.proven) {
      // An entry as a peer makes it, whatever it says.
      const std::string text =
          (kind & 4) != 0 ? Output().Byte(static_cast<uint8_t>(MailKind::kData)).Number(0, 8).Raw(object).bytes()
                          : object;
      told += text.size();
      const void* data = text.data();
      std::string sealed;
      Require(seal->Close(number, {{static_cast<const uint8_t*>(data), text.size()}}, &sealed).ok(), "no seal");
      object = Wrapped(sealed);
    }
    const bool before = watcher.lost;
    tasks.Do([&] { end->Come(number, object); });
    tasks.RunAll();
    if (!watcher.proven && number == end->next()) {
      Require(watcher.lost, "what was changed is taken for nothing");
    }
    if (watcher.lost && !before) {
      Require(!watcher.cause.ok() || watcher.proven, "a goodbye of nobody");
      Require(watcher.cause.ok() || watcher.cause.message().find("rank 1") != std::string::npos ||
                  watcher.cause.message().find("too large") != std::string::npos,
              "a loss that does not name the peer");
    }
  }
  Require(watcher.payload <= told, "more came out than went in");
  tasks.Do([&] { end->Abort(); });
  tasks.RunAll();
}

void RunObject(std::string_view bytes) {
  RunEntries(bytes);
  const auto contents = ObjectContents(bytes, 100);
  Require(contents.size() <= 100 && contents.size() <= bytes.size(), "more is read than there is");
  if (const auto beat = DecodeObjectBeat(bytes, 3)) {
    Require(beat->stored.size() == 3, "a beat of another world");
    Require(DecodeObjectBeat(EncodeObjectBeat(*beat), 3)->stored == beat->stored, "a beat that is read differently");
  }
  const ObjectNames names(TwoRanks());
  if (const auto epoch = names.EpochOf(bytes)) {
    Require(epoch->find('!') == std::string_view::npos && epoch->size() <= bytes.size(), "an epoch of two parts");
  }
}

std::vector<std::string> ObjectSeeds() {
  std::vector<std::string> seeds;
  for (const auto& frames : FrameScripts()) {
    Input in(frames);
    seeds.push_back(Output().Byte(5).Text(FramesOf(in, 7)).Byte(1).Text(std::string("\2\0\0\0\0\0\0\0\0", 9)).bytes());
  }
  seeds.push_back(Output().Byte(0).Text(Wrapped("garbage of some length")).bytes());
  seeds.push_back(Output().Byte(3).Number(2, 8).Text("early").bytes());
  seeds.push_back(Output().Byte(1).Text(std::string("\3\0\0\0\0\0\0\0\0because", 16)).bytes());
  seeds.push_back(Output().Byte(1).Text(std::string("\1\7\0\0\0\0\0\0\0", 9)).bytes());
  seeds.push_back(EncodeObjectBeat({7, {1, 2, 3}}));
  seeds.push_back(ObjectNames(TwoRanks()).Entry(1, 0, 3));
  return seeds;
}

const Registration kObject({"object", RunObject, ObjectSeeds});

}  // namespace
}  // namespace cylon::fuzz
