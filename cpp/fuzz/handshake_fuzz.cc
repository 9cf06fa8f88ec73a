// The handshake: a stranger's bytes in either role, and somebody between two honest ends who changes what they say.
#include "cylon/wire/handshake.h"

#include <algorithm>
#include <array>

#include "cylon/wire/strangers.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

/// What a stranger may make anybody read.
constexpr size_t kMostRead = 64 << 10;
const std::string kSecret(32, 's');

Identity OwnIdentity(Rank rank) { return {"job", "epoch", rank, "mesh"}; }

/// One end of a handshake under way; closes its stream after a failure, as owners do.
struct End {
  void Start(TaskQueue& tasks, bool dialler, const Identity& self) {
    auto handshake = dialler ? HandshakeAsDialler(stream.get(), tasks, self, kSecret, kNever)
                             : HandshakeAsListener(stream.get(), tasks, self, kSecret, kNever);
    identity = Spawn(tasks, std::move(handshake));
    identity.AddCallback([this](const arrow::Result<Identity>& result) {
      if (!result.ok()) {
        stream->Close();
      }
    });
  }
  std::unique_ptr<MemoryStream> stream;
  arrow::Future<Identity> identity;
};

void MeetStranger(std::string_view bytes, bool dialler, bool closes) {
  TaskQueue tasks;
  End end;
  end.stream = std::make_unique<MemoryStream>();
  end.Start(tasks, dialler, OwnIdentity(3));
  tasks.Do([&] {
    end.stream->Feed(bytes);
    if (closes) {
      end.stream->End();
    }
  });
  const TimePoint began = tasks.Now();
  tasks.RunAll();
  Require(end.identity.is_finished(), "a handshake does not end");
  Require(!end.identity.result().ok(), "a stranger was let in");
  Require(end.stream->taken() <= kMostRead, "a stranger made this side read too much");
  // A second more for the farewell.
  Require(tasks.Now() - began <= kStrangerPatience + std::chrono::seconds(2), "a stranger was given too much time");
}

/// Changes bytes on their way, by an edit for a place in one direction: the byte is flipped, dropped or doubled.
class Meddler {
 public:
  explicit Meddler(Input in) {
    while (!in.empty()) {
      const uint8_t kind = in.Byte();
      edits_.push_back({kind, in.Number(2) % 512, static_cast<char>(in.Byte())});
    }
  }
  std::string Pass(int direction, std::string_view bytes) {
    std::string out;
    for (const char byte : bytes) {
      char passed = byte;
      int copies = 1;
      for (const auto& edit : edits_) {
        if (edit.kind % 2 != direction || edit.place != said_[direction].size()) {
          continue;
        }
        if (edit.kind % 8 < 6) {
          passed = static_cast<char>(passed ^ edit.mask);
        } else {
          copies = edit.kind % 16 < 8 ? 0 : 2;
        }
      }
      said_[direction].push_back(byte);
      out.append(static_cast<size_t>(copies), passed);
    }
    heard_[direction].append(out);
    return out;
  }
  /// What the other end has read, the first `taken` bytes of what came, is not what was said.
  bool Changed(int direction, size_t taken) const {
    return std::string_view(heard_[direction]).substr(0, taken) != said_[direction];
  }

 private:
  struct Edit {
    uint8_t kind;
    size_t place;
    char mask;
  };
  std::vector<Edit> edits_;
  std::array<std::string, 2> said_;
  std::array<std::string, 2> heard_;
};

void MeddleBetween(Input in) {
  TaskQueue tasks;
  Identity first = OwnIdentity(3);
  Identity second = OwnIdentity(5);
  const uint8_t differ = in.Byte();
  if ((differ & 1) != 0) {
    first.job = std::string(in.Bytes(in.Byte()));
  }
  if ((differ & 2) != 0) {
    first.epoch = second.epoch = std::string(in.Bytes(in.Byte()));
  }
  if ((differ & 4) != 0) {
    second.purpose = std::string(in.Bytes(in.Byte()));
  }
  Meddler meddler(in);
  std::array<End, 2> ends;
  for (int i = 0; i < 2; ++i) {
    // In a task of its own: no side may be run inside the other's write.
    const auto deliver = [&tasks, &ends, &meddler, i](std::string_view bytes) {
      tasks.Post([&ends, i, passed = meddler.Pass(i, bytes)] { ends[1 - i].stream->Feed(passed); });
    };
    ends[i].stream = std::make_unique<MemoryStream>(deliver);
    ends[i].stream->OnClose([&tasks, &ends, i] { tasks.Post([&ends, i] { ends[1 - i].stream->End(); }); });
  }
  ends[0].Start(tasks, true, first);
  ends[1].Start(tasks, false, second);
  tasks.RunAll();
  Require(ends[0].identity.is_finished() && ends[1].identity.is_finished(), "a handshake does not end");
  const bool same = first.job == second.job && first.epoch == second.epoch && first.purpose == second.purpose;
  const bool misheard = meddler.Changed(0, ends[1].stream->taken());
  const bool misled = meddler.Changed(1, ends[0].stream->taken());
  const auto& dialled = ends[0].identity.result();
  const auto& listened = ends[1].identity.result();
  if (!misheard && !misled) {
    Require(dialled.ok() == same && listened.ok() == same, "two honest ends did not agree on what they are");
  }
  // What an end reads is covered by what it checks; what it wrote is, by the other end.
  Require(!misheard || !listened.ok(), "a listener took what had been changed on its way");
  Require(!misled || !dialled.ok(), "a dialler took what had been changed on its way");
  Require(!dialled.ok() || (dialled->rank == second.rank && dialled->job == second.job), "a listener's name is wrong");
  Require(!listened.ok() || (listened->rank == first.rank && listened->job == first.job), "a dialler's name is wrong");
  ends[0].stream->OnClose({});
  ends[1].stream->OnClose({});
  tasks.Clear();
}

void RunHandshake(std::string_view bytes) {
  Input in(bytes);
  const uint8_t mode = in.Byte();
  if (mode % 4 < 2) {
    return MeetStranger(in.Rest(), mode % 2 == 1, (mode & 4) != 0);
  }
  MeddleBetween(in);
}

std::vector<std::string> HandshakeSeeds() {
  // What each side says first, as its stream got it.
  std::vector<std::string> seeds;
  std::string hello;
  {
    TaskQueue tasks;
    End end;
    end.stream = std::make_unique<MemoryStream>([&](std::string_view bytes) { hello.append(bytes); });
    end.Start(tasks, true, OwnIdentity(3));
    tasks.RunAll();
  }
  seeds.push_back(Output().Byte(0).Raw(hello).Raw(std::string(34, 'm')).bytes());
  seeds.push_back(Output().Byte(4).Raw(hello).bytes());
  seeds.push_back(Output().Byte(1).Byte(0).Raw(hello).bytes());
  seeds.push_back(Output().Byte(5).Byte(1).Text("no").bytes());
  seeds.push_back(Output().Byte(0).Raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").bytes());
  seeds.push_back(Output().Byte(4).Raw(std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7)).bytes());
  seeds.push_back(Output().Byte(2).Byte(0).bytes());
  seeds.push_back(Output().Byte(2).Byte(0).Byte(0).Number(40, 2).Byte(1).bytes());
  seeds.push_back(Output().Byte(2).Byte(0).Byte(1).Number(70, 2).Byte(128).Byte(6).Number(0, 2).Byte(0).bytes());
  seeds.push_back(Output().Byte(2).Byte(1).Byte(5).Raw("other").bytes());
  seeds.push_back(Output().Byte(2).Byte(4).Byte(5).Raw("store").bytes());
  return seeds;
}

const Registration kHandshake({"handshake", RunHandshake, HandshakeSeeds});

}  // namespace
}  // namespace cylon::fuzz
