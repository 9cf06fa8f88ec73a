// Streams through the memory of a host: two ends that agree, ends that lie, and ends that die.
#include "cylon/net/shm/shm_path.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/net/shm/ring_memory.h"
#include "cylon/net/shm/unix_socket.h"
#include "cylon/wire/bytes.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using internal::Descriptor;
using internal::RingControl;
using internal::RingMemory;
using internal::UnixStream;
using ::testing::HasSubstr;

constexpr int64_t kRing = 64 << 10;

std::string Numbered(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>(i * 2654435761U >> 13);
  }
  return text;
}

int OpenDescriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

int MappedRings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.find("cylon-rings") != std::string::npos ? 1 : 0;
  }
  return count;
}

/// A rank's path, and what was accepted on it.
class Host : public TestExecutor {
 public:
  explicit Host(const ShmOptions& options = {kRing, Duration(0)}) : TestExecutor("host") {
    Do([&] {
      path = ListenShm(executor, options).ValueOrDie();
      path->Accept([this](std::unique_ptr<Stream> stream) {
        accepted = std::move(stream);
        if (!arrived.is_finished()) {
          arrived.MarkFinished();
        }
      });
    });
  }
  ~Host() {
    Do([&] {
      accepted.reset();
      path.reset();
    });
  }

  TimePoint soon() { return executor.Now() + kPatience; }

  std::unique_ptr<Stream> Dial(Host& other) {
    auto dialled = Spawn(executor, path->Dial(other.path->address(), soon(), {}));
    EXPECT_TRUE(executor.Wait(arrow::Future<>(dialled), soon()).ok());
    return dialled.MoveResult().ValueOrDie();
  }
  std::unique_ptr<Stream> Accepted() {
    EXPECT_TRUE(Await(arrived).ok());
    arrived = arrow::Future<>::Make();
    return std::move(accepted);
  }
  auto Settle(std::unique_ptr<Stream> stream, bool dialler, TimePoint deadline) {
    return Spawn(executor, path->Settle(std::move(stream), dialler, deadline));
  }
  /// Why what was accepted could not be settled.
  arrow::Status Refusal(std::unique_ptr<Stream> stream) {
    auto settled = Settle(std::move(stream), false, soon());
    EXPECT_TRUE(executor.Wait(arrow::Future<>(settled), soon()).ok());
    return settled.status();
  }

  std::unique_ptr<Path> path;
  std::unique_ptr<Stream> accepted;
  arrow::Future<> arrived = arrow::Future<>::Make();
};

/// Both ends of one stream through memory, each with an executor of its own.
class ShmPair {
 public:
  explicit ShmPair(const ShmOptions& options = {kRing, Duration(0)}) : here(options), there(options) {
    auto dialled = here.Dial(there);
    auto settling = there.Settle(there.Accepted(), false, there.soon());
    auto settled = here.Settle(std::move(dialled), true, here.soon());
    EXPECT_TRUE(here.executor.Wait(arrow::Future<>(settled), here.soon()).ok());
    EXPECT_TRUE(there.executor.Wait(arrow::Future<>(settling), there.soon()).ok());
    near = settled.MoveResult().ValueOrDie();
    far = settling.MoveResult().ValueOrDie();
  }
  ~ShmPair() {
    here.Do([&] { near.reset(); });
    there.Do([&] { far.reset(); });
  }

  Host here;
  Host there;
  std::unique_ptr<Stream> near;
  std::unique_ptr<Stream> far;
};

void SendAndReceive(const ShmOptions& options) {
  ShmPair pair(options);
  const std::string sent = Numbered(5 << 20);
  for (const bool back : {false, true}) {
    auto& writer = back ? pair.there : pair.here;
    auto& reader = back ? pair.here : pair.there;
    auto& out = back ? pair.far : pair.near;
    auto& in = back ? pair.near : pair.far;
    std::vector<std::span<const uint8_t>> parts;
    for (size_t at = 0; at < sent.size();) {
      const size_t size = std::min(sent.size() - at, at < 5000 ? at % 7 : at % 300007 + 1);
      parts.push_back(Bytes(std::string_view(sent).substr(at, size)));
      at += size;
      if (size == 0) {
        parts.push_back(Bytes(std::string_view(sent).substr(at, 1)));
        ++at;
      }
    }
    std::string got(sent.size(), '\0');
    std::thread other([&] { EXPECT_TRUE(writer.Await(writer.Start([&] { return out->Write(parts); })).ok()); });
    EXPECT_TRUE(reader.Await(reader.Start([&] { return in->Read(Bytes(got)); })).ok());
    other.join();
    EXPECT_EQ(got, sent);
  }
}

TEST(ShmPathTest, CarriesBytesBothWays) { SendAndReceive({kRing, Duration(0)}); }
TEST(ShmPathTest, CarriesBytesBothWaysWhileItSpins) { SendAndReceive({1 << 20, std::chrono::microseconds(50)}); }
TEST(ShmPathTest, CarriesBytesThroughTheSmallestRing) { SendAndReceive({4096, std::chrono::microseconds(5)}); }

/// Both sleep between any two messages, or spin: no wake-up may be lost.
void PingPong(const ShmOptions& options, int rounds) {
  ShmPair pair(options);
  std::thread other([&] {
    std::array<uint8_t, 8> bytes{};
    for (int i = 0; i < rounds; ++i) {
      ASSERT_TRUE(pair.there.Await(pair.there.Start([&] { return pair.far->Read(bytes); })).ok());
      ASSERT_TRUE(pair.there.Await(pair.there.Start([&] { return pair.far->Write({bytes}); })).ok());
    }
  });
  std::array<uint8_t, 8> bytes{};
  for (int i = 0; i < rounds; ++i) {
    bytes[0] = static_cast<uint8_t>(i);
    ASSERT_TRUE(pair.here.Await(pair.here.Start([&] { return pair.near->Write({bytes}); })).ok());
    bytes[0] = 0xff;
    ASSERT_TRUE(pair.here.Await(pair.here.Start([&] { return pair.near->Read(bytes); })).ok());
    ASSERT_EQ(bytes[0], static_cast<uint8_t>(i));
  }
  other.join();
}

TEST(ShmPathTest, LosesNoWakeUpWithoutSpinning) { PingPong({kRing, Duration(0)}, 3000); }
TEST(ShmPathTest, LosesNoWakeUpWithShortSpins) { PingPong({kRing, std::chrono::microseconds(3)}, 3000); }

TEST(ShmPathTest, ReadsWhatThereIs) {
  ShmPair pair;
  ASSERT_TRUE(pair.here.Await(pair.here.Start([&] { return pair.near->Write({Bytes("hello")}); })).ok());
  std::string got(100, '\0');
  auto count = pair.there.Await(pair.there.Start([&] { return pair.far->ReadSome(Bytes(got)); }));
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(got.substr(0, static_cast<size_t>(*count)), "hello");
}

TEST(ShmPathTest, ReadsWhatWasWrittenBeforeTheEnd) {
  ShmPair pair;
  ASSERT_TRUE(pair.here.Await(pair.here.Start([&] { return pair.near->Write({Bytes("last words")}); })).ok());
  pair.here.Do([&] { pair.near->Close(); });
  std::string got(10, '\0');
  EXPECT_TRUE(pair.there.Await(pair.there.Start([&] { return pair.far->Read(Bytes(got)); })).ok());
  EXPECT_EQ(got, "last words");
  const auto end = pair.there.Await(pair.there.Start([&] { return pair.far->Read(Bytes(got)); }));
  EXPECT_TRUE(IsEndOfStream(end)) << end;
  auto some = pair.there.Await(pair.there.Start([&] { return pair.far->ReadSome(Bytes(got)); }));
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(*some, 0);
  const auto write = pair.there.Await(pair.there.Start([&] { return pair.far->Write({Bytes("x")}); }));
  EXPECT_TRUE(IsEndOfStream(write)) << write;
  EXPECT_THAT(write.message(), HasSubstr("of this host"));
}

TEST(ShmPathTest, FailsWhatIsUnderWayWhenItIsClosed) {
  ShmPair pair;
  std::string got(10, '\0');
  const std::string much(3 * kRing, 'x');
  auto reading = pair.here.Start([&] { return pair.near->Read(Bytes(got)); });
  auto writing = pair.here.Start([&] { return pair.near->Write({Bytes(std::string_view(much))}); });
  auto second = pair.here.Await(pair.here.Start([&] { return pair.near->Read(Bytes(got)); }));
  EXPECT_THAT(second.message(), HasSubstr("wait for it before the next one"));
  EXPECT_FALSE(reading.is_finished());
  EXPECT_FALSE(writing.is_finished());
  pair.here.Do([&] { pair.near->Close(); });
  EXPECT_THAT(pair.here.Await(reading).message(), HasSubstr("is closed"));
  EXPECT_THAT(pair.here.Await(writing).message(), HasSubstr("is closed"));
  const auto later = pair.here.Await(pair.here.Start([&] { return pair.near->Read(Bytes(got)); }));
  EXPECT_THAT(later.message(), HasSubstr("is closed"));
}

TEST(ShmPathTest, ReachesOnlyThisHost) {
  Host host;
  EXPECT_TRUE(host.path->Reaches(host.path->address()));
  EXPECT_FALSE(host.path->Reaches("shm://another-boot/cylon-1"));
  EXPECT_FALSE(host.path->Reaches("tcp://127.0.0.1:1"));
  EXPECT_EQ(host.path->address().find(' '), std::string::npos);
}

TEST(ShmPathTest, SaysThatNobodyListens) {
  Host host;
  Host gone;
  const std::string address = gone.path->address();
  gone.Do([&] { gone.path->Close(); });
  auto dialled = Spawn(host.executor, host.path->Dial(address, host.soon(), {}));
  ASSERT_TRUE(host.executor.Wait(arrow::Future<>(dialled), host.soon()).ok());
  const auto status = dialled.status();
  EXPECT_TRUE(IsNobodyListening(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("nobody listens there"));
}

TEST(ShmPathTest, EndsASettlementAtItsDeadline) {
  Host host;
  Host silent;
  auto dialled = host.Dial(silent);
  auto settled = host.Settle(std::move(dialled), true, host.executor.Now() + std::chrono::milliseconds(20));
  EXPECT_TRUE(host.executor.Wait(arrow::Future<>(settled), host.soon()).ok());
  EXPECT_TRUE(IsError(settled.status(), ErrorKind::kDeadline)) << settled.status();
  EXPECT_THAT(settled.status().message(), HasSubstr("did not answer in time when memory was to be shared"));
}

TEST(ShmPathTest, EndsASettlementWithThePath) {
  for (const bool dialler : {true, false}) {
    Host host;
    Host silent;
    auto dialled = host.Dial(silent);
    auto settled = host.Settle(std::move(dialled), dialler, host.soon());
    host.Do([&] { host.path.reset(); });
    EXPECT_TRUE(host.executor.Wait(arrow::Future<>(settled), host.soon()).ok());
    EXPECT_THAT(settled.status().message(), HasSubstr("closed"));
  }
}

// Ends that lie.

std::array<uint8_t, 16> OfferOf(uint64_t ring_bytes, uint32_t magic = 0x4d535943, uint32_t version = 1) {
  ByteWriter out;
  out.Number(magic);
  out.Number(version);
  out.Number(ring_bytes);
  std::array<uint8_t, 16> bytes;
  std::copy(out.bytes().begin(), out.bytes().end(), bytes.begin());
  return bytes;
}

/// What a listener says to a dialler that `offers` in its own way.
arrow::Status Answer(const std::function<void(UnixStream&)>& offer) {
  Host liar;
  Host host;
  auto dialled = liar.Dial(host);
  liar.Do([&] { offer(dynamic_cast<UnixStream&>(*dialled)); });
  auto accepted = host.Accepted();
  const int before = OpenDescriptors();
  const auto status = host.Refusal(std::move(accepted));
  EXPECT_EQ(OpenDescriptors(), before - 1) << "only the connection was closed";
  EXPECT_EQ(MappedRings(), 0);
  liar.Do([&] { dialled.reset(); });
  return status;
}

TEST(ShmPathTest, RefusesAnOfferWithoutMemory) {
  const auto status = Answer([](UnixStream& stream) {
    const auto offer = OfferOf(kRing);
    EXPECT_TRUE(stream.Write({offer}).is_finished());
  });
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("passed 0 descriptors where one is due"));
}

TEST(ShmPathTest, RefusesAnOfferWithSeveralDescriptors) {
  for (const size_t many : {2, 9}) {
    const auto status = Answer([many](UnixStream& stream) {
      auto made = RingMemory::Make(kRing).ValueOrDie();
      const auto offer = OfferOf(kRing);
      std::vector<int> numbers(many, made.second.number());
      std::vector<uint8_t> control(CMSG_SPACE(many * sizeof(int)));
      iovec part{const_cast<uint8_t*>(offer.data()), offer.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      auto* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(many * sizeof(int));
      std::memcpy(CMSG_DATA(header), numbers.data(), many * sizeof(int));
      EXPECT_EQ(::sendmsg(stream.socket().native_handle(), &message, 0), 16);
    });
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(), HasSubstr(many == 2 ? "passed 2 descriptors" : "passed 8 or more descriptors"));
  }
}

TEST(ShmPathTest, RefusesAnOfferItDoesNotKnow) {
  for (const auto& offer : {OfferOf(kRing, 0), OfferOf(kRing, 0x4d535943, 7)}) {
    const auto status = Answer([&](UnixStream& stream) {
      auto made = RingMemory::Make(kRing).ValueOrDie();
      EXPECT_TRUE(SendDescriptor(stream, made.second, offer).ok());
    });
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(), HasSubstr("in a way that is not known here"));
  }
}

TEST(ShmPathTest, RefusesMemoryThatIsNotWhatWasOffered) {
  auto status = Answer([](UnixStream& stream) {
    const Descriptor unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(unsealed.number(), 4096 + 2 * kRing), 0);
    EXPECT_TRUE(SendDescriptor(stream, unsealed, OfferOf(kRing)).ok());
  });
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("is not sealed against a change of its size"));
  status = Answer([](UnixStream& stream) {
    auto made = RingMemory::Make(kRing).ValueOrDie();
    EXPECT_TRUE(SendDescriptor(stream, made.second, OfferOf(uint64_t{1} << 30)).ok());
  });
  EXPECT_THAT(status.message(), HasSubstr("has 135168 bytes, not 2147487744"));
}

TEST(ShmPathTest, RefusesAStreamOfAnotherKind) {
  Host host;
  StreamPair tcp;
  auto settled = host.Settle(std::move(tcp.near), true, host.soon());
  EXPECT_TRUE(host.executor.Wait(arrow::Future<>(settled), host.soon()).ok());
  EXPECT_THAT(settled.status().message(), HasSubstr("is none that shm has made"));
}

TEST(ShmPathTest, RefusesPositionsThatCannotBe) {
  for (const bool reads : {true, false}) {
    Host liar;
    Host host;
    auto dialled = liar.Dial(host);
    auto made = RingMemory::Make(kRing).ValueOrDie();
    void* scribbled = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, made.second.number(), 0);
    ASSERT_NE(scribbled, MAP_FAILED);
    auto* controls = static_cast<RingControl*>(scribbled);
    liar.Do(
        [&] { EXPECT_TRUE(SendDescriptor(dynamic_cast<UnixStream&>(*dialled), made.second, OfferOf(kRing)).ok()); });
    auto settled = host.Settle(host.Accepted(), false, host.soon());
    ASSERT_TRUE(host.executor.Wait(arrow::Future<>(settled), host.soon()).ok());
    auto stream = settled.MoveResult().ValueOrDie();
    arrow::Status status;
    std::string bytes(2 * kRing, 'x');
    if (reads) {
      controls[0].written.store(kRing + 1);
      status = host.Await(host.Start([&] { return stream->Read(Bytes(bytes)); }));
    } else {
      controls[1].read.store(5);
      status = host.Await(host.Start([&] { return stream->Write({Bytes(std::string_view(bytes))}); }));
    }
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(), HasSubstr("wrote a position into the memory that is shared with it that cannot be"));
    host.Do([&] { stream.reset(); });
    liar.Do([&] { dialled.reset(); });
    ::munmap(scribbled, 4096);
  }
}

// Ends that die.

/// The program of the process that is killed: dials the address on its standard input, settles, writes a few bytes, and
/// waits for its end. Not run by itself.
TEST(ShmPeerTest, DISABLED_WritesAndWaitsToBeKilled) {
  std::array<char, 256> address{};
  const ssize_t size = ::read(STDIN_FILENO, address.data(), address.size());
  ASSERT_GT(size, 0);
  AsioExecutor executor("peer");
  std::unique_ptr<Path> path;
  ASSERT_TRUE(executor
                  .RunTask([&]() -> arrow::Status {
                    ARROW_ASSIGN_OR_RAISE(path, ListenShm(executor, {kRing, Duration(0)}));
                    return arrow::Status::OK();
                  })
                  .ok());
  const auto deadline = executor.Now() + kPatience;
  auto dialled = Spawn(executor, path->Dial(std::string(address.data(), static_cast<size_t>(size)), deadline, {}));
  ASSERT_TRUE(executor.Wait(arrow::Future<>(dialled), deadline).ok());
  auto settled = Spawn(executor, path->Settle(dialled.MoveResult().ValueOrDie(), true, deadline));
  ASSERT_TRUE(executor.Wait(arrow::Future<>(settled), deadline).ok());
  auto stream = settled.MoveResult().ValueOrDie();
  ASSERT_TRUE(executor
                  .RunTask([&] {
                    std::ignore = stream->Write({Bytes("alive")});
                    return arrow::Status::OK();
                  })
                  .ok());
  std::ignore = executor.Wait(arrow::Future<>::Make(), deadline);
}

/// Starts that program with `standard_input`.
pid_t StartPeer(int standard_input) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(standard_input, STDIN_FILENO);
    ::execl("/proc/self/exe", "peer", "--gtest_also_run_disabled_tests", "--gtest_filter=ShmPeerTest.*",
            "--gtest_brief=1", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  return child;
}

TEST(ShmPathTest, SeesAKilledPeerAtOnceAndKeepsNothingOfIt) {
  constexpr int kRounds = 10;
  int descriptors = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const pid_t child = StartPeer(ends[0]);
    ASSERT_GE(child, 0);
    ::close(ends[0]);
    {
      Host host;
      const std::string address = host.path->address();
      ASSERT_EQ(::write(ends[1], address.data(), address.size()), static_cast<ssize_t>(address.size()));
      auto settled = host.Settle(host.Accepted(), false, host.soon());
      ASSERT_TRUE(host.executor.Wait(arrow::Future<>(settled), host.soon()).ok());
      auto stream = settled.MoveResult().ValueOrDie();
      std::string got(5, '\0');
      ASSERT_TRUE(host.Await(host.Start([&] { return stream->Read(Bytes(got)); })).ok());
      EXPECT_EQ(got, "alive");
      EXPECT_EQ(MappedRings(), 1);
      // A read waits, and so does a write for which there is no room: both end with the peer.
      const std::string much(2 * kRing, 'x');
      auto reading = host.Start([&] { return stream->Read(Bytes(got)); });
      auto writing = host.Start([&] { return stream->Write({Bytes(std::string_view(much))}); });
      ASSERT_EQ(::kill(child, SIGKILL), 0);
      const auto read = host.Await(reading);
      EXPECT_TRUE(IsEndOfStream(read)) << read;
      const auto written = host.Await(writing);
      EXPECT_TRUE(IsEndOfStream(written)) << written;
      host.Do([&] { stream.reset(); });
      EXPECT_EQ(MappedRings(), 0);
    }
    ::close(ends[1]);
    int how = 0;
    ASSERT_EQ(::waitpid(child, &how, 0), child);
    EXPECT_TRUE(WIFSIGNALED(how)) << how;
    if (round == 0) {
      descriptors = OpenDescriptors();
    }
  }
  EXPECT_EQ(OpenDescriptors(), descriptors);
}

TEST(ShmPathTest, KeepsNothingOfClosedStreams) {
  int descriptors = 0;
  for (int round = 0; round < 30; ++round) {
    {
      ShmPair pair;
    }
    if (round == 0) {
      descriptors = OpenDescriptors();
    }
  }
  EXPECT_EQ(OpenDescriptors(), descriptors);
  EXPECT_EQ(MappedRings(), 0);
}

TEST(ShmOptionsTest, FitTheHost) {
  EXPECT_EQ(FitShmOptions(0, -1, 2, 2).ring_bytes, 1 << 20);
  EXPECT_EQ(FitShmOptions(0, -1, 64, 2).ring_bytes, 128 << 10);
  EXPECT_EQ(FitShmOptions(0, -1, 1000, 2).ring_bytes, 64 << 10);
  EXPECT_EQ(FitShmOptions(8192, -1, 64, 2).ring_bytes, 8192);
  EXPECT_EQ(FitShmOptions(0, -1, 2, 2).spin, std::chrono::microseconds(50));
  EXPECT_FALSE(FitShmOptions(0, -1, 2, 2).yields);
  EXPECT_EQ(FitShmOptions(0, -1, 3, 2).spin, std::chrono::microseconds(20));
  EXPECT_TRUE(FitShmOptions(0, -1, 3, 2).yields);
  EXPECT_EQ(FitShmOptions(0, 7, 3, 2).spin, std::chrono::microseconds(7));
}

}  // namespace
}  // namespace cylon::testing
