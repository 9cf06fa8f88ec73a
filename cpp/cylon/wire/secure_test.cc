// Connections that are opened by honest ends that differ, and by strangers.
#include "cylon/wire/secure.h"

#include "cylon/wire/bytes.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

const std::string kSecret(32, 's');

Identity Self(Rank rank) { return {"job", "epoch", rank, "mesh"}; }

Security Keyed(bool plain_text = false) { return {kSecret, plain_text, "", "", ""}; }

/// A stream between two machines, as far as it says; and what went over it.
class FarStream : public Stream {
 public:
  FarStream(std::unique_ptr<Stream> below, std::string* written) : below_(std::move(below)), written_(written) {}
  arrow::Future<> Read(std::span<uint8_t> into) override { return below_->Read(into); }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override { return below_->ReadSome(into); }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    for (const auto part : parts) {
      written_->append(part.begin(), part.end());
    }
    return below_->Write(std::move(parts));
  }
  void Close() override { below_->Close(); }
  std::string peer_name() const override { return below_->peer_name(); }
  bool is_loopback() const override { return false; }

 private:
  std::unique_ptr<Stream> below_;
  std::string* written_;
};

class SecureTest : public ::testing::Test {
 protected:
  void TearDown() override {
    pair.Do([&] {
      dialled = arrow::Status::UnknownError("");
      listened = arrow::Status::UnknownError("");
    });
  }
  void GoFar() {
    pair.near = std::make_unique<FarStream>(std::move(pair.near), &written);
    pair.far = std::make_unique<FarStream>(std::move(pair.far), &answered);
  }
  void Run(const Security& dialler, const Security& listener) {
    auto listening =
        Spawn(pair.executor, OpenAsListener(std::move(pair.far), pair.executor, listener, Self(5), kNever));
    auto dialling =
        Spawn(pair.executor, OpenAsDialler(std::move(pair.near), pair.executor, dialler, Self(3), "localhost", kNever));
    ASSERT_TRUE(pair.executor.Wait(arrow::Future<>(dialling), pair.executor.Now() + kPatience).ok());
    pair.Do([&] { dialled = dialling.MoveResult(); });
    ASSERT_TRUE(pair.executor.Wait(arrow::Future<>(listening), pair.executor.Now() + kPatience).ok());
    pair.Do([&] { listened = listening.MoveResult(); });
  }
  void ExpectWorks() {
    ASSERT_TRUE(dialled.ok()) << dialled.status();
    ASSERT_TRUE(listened.ok()) << listened.status();
    EXPECT_EQ(dialled->peer.rank, 5);
    EXPECT_EQ(listened->peer.rank, 3);
    const std::string text = "what nobody else may read";
    std::string heard(text.size(), ' ');
    auto writing = pair.Start([&] { return dialled->stream->Write({Bytes(text)}); });
    auto reading = pair.Start([&] { return listened->stream->Read(Bytes(heard)); });
    EXPECT_TRUE(pair.Await(writing).ok());
    EXPECT_TRUE(pair.Await(reading).ok());
    EXPECT_EQ(heard, text);
  }
  /// Raw bytes from the dialling side; what the listener says to that, and what comes back.
  arrow::Status Raw(const std::string& bytes, std::string* back, const Security& listener = Keyed()) {
    auto listening =
        Spawn(pair.executor, OpenAsListener(std::move(pair.far), pair.executor, listener, Self(5), kNever));
    auto writing = pair.Start([&] { return pair.near->Write({Bytes(bytes)}); });
    EXPECT_TRUE(pair.Await(writing).ok());
    std::string buffer(4096, ' ');
    auto reading = pair.Start([&] { return pair.near->ReadSome(Bytes(buffer)); });
    const auto got = pair.Await(reading);
    back->assign(buffer, 0, static_cast<size_t>(got.ok() ? *got : 0));
    pair.Do([&] { pair.near->Close(); });
    EXPECT_TRUE(pair.executor.Wait(arrow::Future<>(listening), pair.executor.Now() + kPatience).ok());
    return listening.status();
  }

  StreamPair pair;
  std::string written;
  std::string answered;
  arrow::Result<OpenedStream> dialled = arrow::Status::UnknownError("");
  arrow::Result<OpenedStream> listened = arrow::Status::UnknownError("");
};

TEST_F(SecureTest, OnLoopbackNothingIsEncrypted) {
  Run(Keyed(), Keyed());
  ExpectWorks();
  EXPECT_EQ(dialled->stream->binding(), "");
}

TEST_F(SecureTest, BetweenMachinesEverythingIsEncrypted) {
  GoFar();
  Run(Keyed(), Keyed());
  ExpectWorks();
  EXPECT_EQ(dialled->stream->binding().size(), 32U);
  EXPECT_EQ(dialled->stream->binding(), listened->stream->binding());
  for (const char* word : {"what nobody else", "CYHS", "mesh", "epoch"}) {
    EXPECT_THAT(written, ::testing::Not(HasSubstr(word)));
    EXPECT_THAT(answered, ::testing::Not(HasSubstr(word)));
  }
}

TEST_F(SecureTest, PlainTextIsSpokenWhereBothAreToldTo) {
  GoFar();
  Run(Keyed(true), Keyed(true));
  ExpectWorks();
  EXPECT_THAT(written, HasSubstr("what nobody else may read"));
}

TEST_F(SecureTest, PlainTextAtOneEndNamesTheOptionAtBoth) {
  for (const bool at_dialler : {false, true}) {
    StreamPair fresh;
    auto far = std::make_unique<FarStream>(std::move(fresh.far), &answered);
    auto near = std::make_unique<FarStream>(std::move(fresh.near), &written);
    auto listening =
        Spawn(fresh.executor, OpenAsListener(std::move(far), fresh.executor, Keyed(!at_dialler), Self(5), kNever));
    auto dialling = Spawn(fresh.executor,
                          OpenAsDialler(std::move(near), fresh.executor, Keyed(at_dialler), Self(3), "there", kNever));
    for (const auto& done : {arrow::Future<>(dialling), arrow::Future<>(listening)}) {
      ASSERT_TRUE(fresh.executor.Wait(done, fresh.executor.Now() + kPatience).ok());
      EXPECT_TRUE(done.status().IsInvalid()) << done.status();
      EXPECT_THAT(done.status().message(), HasSubstr("set CYLON_PLAIN_TEXT to the same value at all ranks"));
      EXPECT_THAT(done.status().message(), HasSubstr("CYLON_PLAIN_TEXT=1"));
    }
  }
}

TEST_F(SecureTest, AWrongSecretIsRefusedOverTlsToo) {
  GoFar();
  auto other = Keyed();
  other.secret = std::string(32, 't');
  Run(other, Keyed());
  for (const auto& status : {dialled.status(), listened.status()}) {
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(), HasSubstr("does not know the job's secret"));
  }
}

TEST_F(SecureTest, OptionsThatDifferAreToldOverTlsToo) {
  GoFar();
  auto own = Self(3);
  own.options = "piece_bytes=1";
  auto others = Self(5);
  others.options = "piece_bytes=2";
  auto listening = Spawn(pair.executor, OpenAsListener(std::move(pair.far), pair.executor, Keyed(), others, kNever));
  auto dialling =
      Spawn(pair.executor, OpenAsDialler(std::move(pair.near), pair.executor, Keyed(), own, "localhost", kNever));
  for (const auto& done : {arrow::Future<>(dialling), arrow::Future<>(listening)}) {
    ASSERT_TRUE(pair.executor.Wait(done, pair.executor.Now() + kPatience).ok());
    EXPECT_TRUE(done.status().IsInvalid()) << done.status();
    EXPECT_THAT(done.status().message(), HasSubstr("piece_bytes=1, this side piece_bytes=2"));
  }
}

TEST_F(SecureTest, AnotherVersionIsNamedBesideThisOne) {
  ByteWriter preamble;
  preamble.Raw("CYLN");
  preamble.Number(uint16_t{kHandshakeVersion + 7});
  preamble.Number(uint16_t{0});
  std::string back;
  const auto status = Raw(preamble.Take(), &back);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  const std::string told = "speaks version " + std::to_string(kHandshakeVersion + 7) +
                           " of the protocol, this side version " + std::to_string(kHandshakeVersion);
  EXPECT_THAT(status.message(), HasSubstr(told));
  EXPECT_THAT(back, HasSubstr(told));
}

TEST_F(SecureTest, HttpIsRefused) {
  std::string back;
  const auto status = Raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &back);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("does not speak Cylon's protocol"));
}

TEST_F(SecureTest, TlsGarbageIsRefused) {
  GoFar();
  ByteWriter bytes;
  bytes.Raw("CYLN");
  bytes.Number(kHandshakeVersion);
  bytes.Number(uint16_t{1});
  bytes.Raw(std::string("\x16\x03\x01\x40\x00", 5) + std::string(2000, 'x'));
  std::string back;
  const auto status = Raw(bytes.Take(), &back);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("TLS"));
}

TEST_F(SecureTest, SilenceEndsAtTheDeadline) {
  auto listening = Spawn(pair.executor, OpenAsListener(std::move(pair.far), pair.executor, Keyed(), Self(5),
                                                       pair.executor.Now() + std::chrono::milliseconds(50)));
  ASSERT_TRUE(pair.executor.Wait(arrow::Future<>(listening), pair.executor.Now() + kPatience).ok());
  EXPECT_TRUE(IsError(listening.status(), ErrorKind::kDeadline)) << listening.status();
}

TEST_F(SecureTest, WhoeverKeepsTheOpeningEndsIt) {
  for (const bool tls : {false, true}) {
    StreamPair fresh;
    std::unique_ptr<Stream> far = std::move(fresh.far);
    if (tls) {
      far = std::make_unique<FarStream>(std::move(far), &answered);
    }
    auto opening = std::make_shared<Opening>();
    auto listening =
        Spawn(fresh.executor, OpenAsListener(std::move(far), fresh.executor, Keyed(), Self(5), kNever, opening));
    if (tls) {
      ByteWriter preamble;  // the listener waits inside TLS
      preamble.Raw("CYLN");
      preamble.Number(kHandshakeVersion);
      preamble.Number(uint16_t{1});
      const std::string bytes = preamble.Take();
      auto writing = fresh.Start([&] { return fresh.near->Write({Bytes(bytes)}); });
      ASSERT_TRUE(fresh.Await(writing).ok());
      std::string answer(3, ' ');
      auto reading = fresh.Start([&] { return fresh.near->Read(Bytes(answer)); });
      ASSERT_TRUE(fresh.Await(reading).ok());
    }
    fresh.Do([&] { opening->Close(); });
    ASSERT_TRUE(fresh.executor.Wait(arrow::Future<>(listening), fresh.executor.Now() + kPatience).ok());
    EXPECT_FALSE(listening.status().ok());
    fresh.Do([&] { opening->Close(); });  // nothing is there any more
  }
}

}  // namespace
}  // namespace cylon::testing
