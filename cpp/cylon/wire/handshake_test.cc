// The handshake between honest peers, and against everybody else.
#include "cylon/wire/handshake.h"

#include "cylon/wire/bytes.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

const std::string kSecret(32, 's');

Identity Self(Rank rank) { return {"job", "epoch", rank, "mesh"}; }

class HandshakeTest : public ::testing::Test {
 protected:
  arrow::Future<Identity> Dial(Identity self, std::string secret) {
    return Spawn(pair.executor,
                 HandshakeAsDialler(pair.near.get(), pair.executor, std::move(self), std::move(secret), kNever));
  }
  arrow::Future<Identity> Listen(Identity self, std::string secret, TimePoint deadline = kNever) {
    return Spawn(pair.executor,
                 HandshakeAsListener(pair.far.get(), pair.executor, std::move(self), std::move(secret), deadline));
  }
  /// Both ends to their end; each closes its stream after a failure, as owners do.
  void Run(Identity dialler, const std::string& dialler_secret, Identity listener, const std::string& listener_secret) {
    auto listening = Listen(std::move(listener), listener_secret);
    auto dialling = Dial(std::move(dialler), dialler_secret);
    dialled = pair.Await(dialling);
    pair.Do([&] {
      if (!dialled.ok()) {
        pair.near->Close();
      }
    });
    listened = pair.Await(listening);
  }
  /// Sends raw bytes from the dialling side and returns the listener's end.
  arrow::Status Raw(const std::string& bytes, bool close) {
    auto listening = Listen(Self(0), kSecret);
    auto writing = pair.Start([&] { return pair.near->Write({Bytes(std::string_view(bytes))}); });
    EXPECT_TRUE(pair.Await(writing).ok());
    if (close) {
      pair.Do([&] { pair.near->Close(); });
    }
    return pair.Await(listening).status();
  }
  static std::string Framed(const std::string& bytes) {
    ByteWriter out;
    out.Number(static_cast<uint16_t>(bytes.size()));
    out.Raw(bytes);
    return out.Take();
  }
  /// A hello of rank 3, as a dialler (1) or a listener (2) sends it.
  static std::string Hello(uint8_t role, const std::string& nonce, uint16_t version = kHandshakeVersion) {
    ByteWriter out;
    out.Raw("CYHS");
    out.Number(version);
    out.Number(role);
    out.Number(uint32_t{3});
    out.Number(int32_t{-1});
    for (const char* text : {"job", "epoch", "mesh", ""}) {
      out.Raw(Framed(text));
    }
    out.Raw(nonce);
    return Framed(out.Take());
  }

  StreamPair pair;
  arrow::Result<Identity> dialled = arrow::Status::UnknownError("");
  arrow::Result<Identity> listened = arrow::Status::UnknownError("");
};

TEST_F(HandshakeTest, TwoOfOneJobLearnWhoTheOtherIs) {
  Run(Self(3), kSecret, Self(5), kSecret);
  ASSERT_TRUE(dialled.ok()) << dialled.status();
  ASSERT_TRUE(listened.ok()) << listened.status();
  EXPECT_EQ(dialled->rank, 5);
  EXPECT_EQ(listened->rank, 3);
  EXPECT_EQ(listened->job, "job");
}

TEST_F(HandshakeTest, AWrongSecretIsRefusedOnBothSides) {
  Run(Self(3), std::string(32, 't'), Self(5), kSecret);
  EXPECT_TRUE(IsError(dialled.status(), ErrorKind::kAuthentication)) << dialled.status();
  EXPECT_TRUE(IsError(listened.status(), ErrorKind::kAuthentication)) << listened.status();
  EXPECT_THAT(dialled.status().message(), HasSubstr("does not know the job's secret"));
  EXPECT_THAT(listened.status().message(), HasSubstr("does not know the job's secret"));
  EXPECT_THAT(dialled.status().message(), ::testing::Not(HasSubstr("rank 5")));
}

TEST_F(HandshakeTest, NoSecretIsNoConnection) {
  Run(Self(3), "", Self(5), kSecret);
  EXPECT_TRUE(IsError(dialled.status(), ErrorKind::kAuthentication)) << dialled.status();
  EXPECT_THAT(dialled.status().message(), HasSubstr("CYLON_SECRET_FILE"));
}

TEST_F(HandshakeTest, AnotherJobIsNamedToBoth) {
  auto other = Self(3);
  other.job = "else";
  Run(other, kSecret, Self(5), kSecret);
  for (const auto& status : {dialled.status(), listened.status()}) {
    EXPECT_TRUE(status.IsInvalid()) << status;
    EXPECT_THAT(status.message(), HasSubstr("belongs to job 'else', this side to job 'job'"));
  }
}

TEST_F(HandshakeTest, AnotherEpochIsRefused) {
  auto other = Self(3);
  other.epoch = "old";
  Run(other, kSecret, Self(5), kSecret);
  for (const auto& status : {dialled.status(), listened.status()}) {
    EXPECT_TRUE(status.IsInvalid()) << status;
    EXPECT_THAT(status.message(), HasSubstr("epoch 'old', not 'epoch'"));
  }
}

TEST_F(HandshakeTest, AListenerOfSeveralPurposesAndJobsIsToldWhich) {
  auto server = Self(5);
  server.purpose = "rendezvous";
  server.also = {"store", "relay"};
  server.any_job = true;
  auto client = Self(3);
  client.purpose = "relay";
  client.job = "another";
  Run(client, kSecret, server, kSecret);
  ASSERT_TRUE(listened.ok()) << listened.status();
  EXPECT_EQ(listened->purpose, "relay");
  EXPECT_EQ(listened->job, "another");
  ASSERT_TRUE(dialled.ok()) << dialled.status();
  EXPECT_EQ(dialled->purpose, "relay");
}

TEST_F(HandshakeTest, AListenerOfSeveralPurposesRefusesOthers) {
  auto server = Self(5);
  server.also = {"store"};
  auto client = Self(3);
  client.purpose = "relay";
  Run(client, kSecret, server, kSecret);
  EXPECT_TRUE(IsError(listened.status(), ErrorKind::kProtocol)) << listened.status();
  EXPECT_THAT(dialled.status().message(), HasSubstr("wants a connection for 'relay', this is one for 'mesh'"));
}

TEST_F(HandshakeTest, APurposeThatIsServedNeedsTheSecretToo) {
  auto server = Self(5);
  server.also = {"store"};
  server.any_job = true;
  auto client = Self(3);
  client.purpose = "store";
  Run(client, std::string(32, 'w'), server, kSecret);
  EXPECT_TRUE(IsError(listened.status(), ErrorKind::kAuthentication)) << listened.status();
  EXPECT_TRUE(IsError(dialled.status(), ErrorKind::kAuthentication)) << dialled.status();
}

TEST_F(HandshakeTest, WhoIsNotWhoWasWantedIsRefusedAtBoth) {
  auto dialler = Self(3);
  dialler.wanted = 4;
  Run(dialler, kSecret, Self(5), kSecret);
  EXPECT_TRUE(listened.status().IsInvalid()) << listened.status();
  EXPECT_THAT(listened.status().message(), HasSubstr("wants rank 4, this is rank 5"));
  EXPECT_TRUE(dialled.status().IsInvalid()) << dialled.status();
  EXPECT_THAT(dialled.status().message(), HasSubstr("wants rank 4, this is rank 5"));
}

TEST_F(HandshakeTest, OptionsThatDifferAreToldWithBothValues) {
  struct Case {
    std::string dialler;
    std::string listener;
    std::string told;
  };
  for (const auto& one : {Case{"a=1;b=2", "a=1;b=3", "has the option b=2, this side b=3"},
                          Case{"a=1", "a=1;b=3", "has the option b=(none), this side b=3"},
                          Case{"a=1;b=2", "a=1", "has the option b=2, this side b=(none)"}}) {
    StreamPair fresh;
    auto dialler = Self(3);
    dialler.options = one.dialler;
    auto listener = Self(5);
    listener.options = one.listener;
    auto listening =
        Spawn(fresh.executor, HandshakeAsListener(fresh.far.get(), fresh.executor, listener, kSecret, kNever));
    auto dialling =
        Spawn(fresh.executor, HandshakeAsDialler(fresh.near.get(), fresh.executor, dialler, kSecret, kNever));
    const auto told = fresh.Await(dialling).status();
    fresh.Do([&] { fresh.near->Close(); });
    const auto refused = fresh.Await(listening).status();
    for (const auto& status : {told, refused}) {
      EXPECT_TRUE(status.IsInvalid()) << status;
      EXPECT_THAT(status.message(), HasSubstr(one.told));
    }
  }
}

TEST_F(HandshakeTest, AnotherPurposeIsRefused) {
  auto other = Self(3);
  other.purpose = "store";
  Run(other, kSecret, Self(5), kSecret);
  EXPECT_TRUE(IsError(dialled.status(), ErrorKind::kProtocol)) << dialled.status();
  EXPECT_THAT(dialled.status().message(), HasSubstr("wants a connection for 'store'"));
}

TEST_F(HandshakeTest, GarbageIsRefused) {
  const auto status = Raw("GET / HTTP/1.1\r\n\r\n" + std::string(1000, 'x'), true);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("at most 4096 are read from a stranger"));
}

TEST_F(HandshakeTest, AnotherProtocolIsRefused) {
  const auto status = Raw(Framed(std::string(100, 'x')), true);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("does not speak Cylon's protocol"));
}

TEST_F(HandshakeTest, AnotherVersionIsTold) {
  const auto status = Raw(Hello(1, std::string(32, 'n'), 9), true);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("speaks version 9 of the protocol, this side version 3"));
}

TEST_F(HandshakeTest, ATruncatedHelloIsAClosedConnection) {
  const auto status = Raw(Hello(1, std::string(32, 'n')).substr(0, 20), true);
  EXPECT_TRUE(IsEndOfStream(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("ended the handshake"));
}

TEST_F(HandshakeTest, AShortNonceIsRefused) {
  EXPECT_THAT(Raw(Hello(1, "n"), true).message(), HasSubstr("malformed greeting"));
}

TEST_F(HandshakeTest, AWrongProofIsRefused) {
  const auto status = Raw(Hello(1, std::string(32, 'n')) + Framed(std::string(32, 'm')), false);
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
}

TEST_F(HandshakeTest, ASilentPeerIsLeftAtTheDeadline) {
  auto listening = Listen(Self(0), kSecret, pair.executor.Now() + std::chrono::milliseconds(50));
  const auto status = pair.Await(listening).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("did not finish the handshake in time"));
}

TEST_F(HandshakeTest, WithoutAProofNoMismatchIsTold) {
  // Whatever else is wrong, who does not know the secret hears of the secret alone: no probing of jobs and runs.
  Identity job = Self(3);
  job.job = "else";
  Identity epoch = Self(3);
  epoch.epoch = "old";
  Identity purpose = Self(3);
  purpose.purpose = "store";
  for (const auto& stranger : {job, epoch, purpose}) {
    StreamPair fresh;
    auto listening =
        Spawn(fresh.executor, HandshakeAsListener(fresh.far.get(), fresh.executor, Self(5), kSecret, kNever));
    auto dialling = Spawn(fresh.executor,
                          HandshakeAsDialler(fresh.near.get(), fresh.executor, stranger, std::string(32, 't'), kNever));
    const auto told = fresh.Await(dialling).status();
    fresh.Do([&] { fresh.near->Close(); });
    const auto refused = fresh.Await(listening).status();
    for (const auto& status : {told, refused}) {
      EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
      for (const char* detail : {"else", "old", "store", "epoch", "belongs", "wants a connection"}) {
        EXPECT_THAT(status.message(), ::testing::Not(HasSubstr(detail)));
      }
    }
  }
}

TEST_F(HandshakeTest, TheReasonArrivesThoughTheRefusedPeerSentMore) {
  // What is read after a refusal, at most. Closing over any of it would reset the connection, and the reason with it.
  const std::string more(32 << 10, 'x');
  const auto refused = Raw(Hello(1, std::string(32, 'n'), 9) + more, false);
  EXPECT_TRUE(IsError(refused, ErrorKind::kProtocol)) << refused;
  pair.Do([&] { pair.far.reset(); });  // as owners do; only now does the peer read
  std::string heard;
  std::string buffer(4096, '\0');
  while (true) {
    auto reading = pair.Start([&] { return pair.near->ReadSome(Bytes(buffer)); });
    const auto got = pair.Await(reading);
    ASSERT_TRUE(got.ok()) << got.status();
    if (*got == 0) {
      break;
    }
    heard += buffer.substr(0, static_cast<size_t>(*got));
  }
  EXPECT_THAT(heard, HasSubstr("speaks version 9 of the protocol, this side version 3"));
}

/// Sends back what comes, each message behind the byte that says "accepted"; the first one may be another hello.
Co<void> Reflect(Stream* stream, std::string hello) {
  std::string buffer(8192, '\0');
  for (bool first = true;; first = false) {
    auto reading = stream->ReadSome(Bytes(buffer));
    auto count = co_await reading;
    if (!count.ok() || *count == 0) {
      co_return count.status();
    }
    const std::string back =
        std::string(1, '\0') + (first && !hello.empty() ? hello : buffer.substr(0, static_cast<size_t>(*count)));
    std::vector<std::span<const uint8_t>> parts{Bytes(std::string_view(back))};
    auto writing = stream->Write(std::move(parts));
    CYLON_CO_RETURN_NOT_OK(co_await writing);
  }
}

TEST_F(HandshakeTest, AReflectedHandshakeIsRefused) {
  auto dialling = Dial(Self(3), kSecret);
  auto reflecting = Spawn(pair.executor, Reflect(pair.far.get(), ""));
  const auto status = pair.Await(dialling).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("greeted in the wrong role"));
  pair.Do([&] { pair.near->Close(); });
  EXPECT_TRUE(pair.executor.Wait(reflecting).ok());
}

TEST_F(HandshakeTest, AProofSentBackDoesNotProve) {
  // With a hello of the right role: the MAC that comes back was made for the other one.
  auto dialling = Dial(Self(3), kSecret);
  auto reflecting = Spawn(pair.executor, Reflect(pair.far.get(), Hello(2, std::string(32, 'a'))));
  const auto status = pair.Await(dialling).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
  pair.Do([&] { pair.near->Close(); });
  EXPECT_TRUE(pair.executor.Wait(reflecting).ok());
}

TEST_F(HandshakeTest, AHandshakeThatIsReplayedIsRefused) {
  // Everything that an honest dialler said once, said again: the listener's nonce is another one.
  std::string said;
  {
    StreamPair honest;
    auto listening =
        Spawn(honest.executor, HandshakeAsListener(honest.far.get(), honest.executor, Self(5), kSecret, kNever));
    // The dialler speaks to the test, which passes on what it hears in both directions.
    StreamPair middle;
    auto dialling =
        Spawn(middle.executor, HandshakeAsDialler(middle.near.get(), middle.executor, Self(3), kSecret, kNever));
    std::string buffer(8192, '\0');
    for (int message = 0; message < 2; ++message) {
      auto heard = middle.Start([&] { return middle.far->ReadSome(Bytes(buffer)); });
      auto got = middle.Await(heard);
      ASSERT_TRUE(got.ok());
      const std::string passed = buffer.substr(0, static_cast<size_t>(*got));
      said += passed;
      auto writing = honest.Start([&] { return honest.near->Write({Bytes(std::string_view(passed))}); });
      ASSERT_TRUE(honest.Await(writing).ok());
      auto answer = honest.Start([&] { return honest.near->ReadSome(Bytes(buffer)); });
      got = honest.Await(answer);
      ASSERT_TRUE(got.ok());
      const std::string back = buffer.substr(0, static_cast<size_t>(*got));
      auto answering = middle.Start([&] { return middle.far->Write({Bytes(std::string_view(back))}); });
      ASSERT_TRUE(middle.Await(answering).ok());
    }
    ASSERT_TRUE(honest.Await(listening).ok());
    ASSERT_TRUE(middle.Await(dialling).ok());
  }
  const auto status = Raw(said, false);
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
}

}  // namespace
}  // namespace cylon::testing
