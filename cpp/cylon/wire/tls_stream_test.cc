// TLS between honest peers, and against everybody else.
#include "cylon/wire/tls_stream.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <fstream>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kTlsSecret(32, 's');
constexpr int64_t kTlsDay = 24 * 60 * 60;
TlsOptions Keyed(const std::string& secret = kTlsSecret) {
  TlsOptions options;
  options.secret = secret;
  return options;
}
TlsOptions TrustingIn(const std::string& ca_file, const std::string& server_name) {
  TlsOptions options;
  options.ca_file = ca_file;
  options.server_name = server_name;
  return options;
}

/// Certificates of one authority, in a folder that goes when they go.
class TlsAuthority {
 public:
  explicit TlsAuthority(const char* name = "the authority")
      : folder_(std::filesystem::temp_directory_path() / ("cylon-tls-" + HexEncode(*RandomBytes(8)))) {
    std::filesystem::create_directory(folder_);
    key_ = EVP_EC_gen("P-256");
    certificate_ = Make(name, key_, "", kTlsDay, nullptr);
    Save("ca", certificate_, nullptr);
  }
  ~TlsAuthority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
    std::filesystem::remove_all(folder_);
  }
  TlsAuthority(const TlsAuthority&) = delete;
  TlsAuthority& operator=(const TlsAuthority&) = delete;

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string ca() const { return Path("ca.pem"); }

  /// `options` with a certificate for `names` ("DNS:a,IP:1.2.3.4") that ends in `seconds`.
  TlsOptions Certify(const std::string& names, int64_t seconds = kTlsDay, TlsOptions options = {}) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = Make("one rank", key, names, seconds, certificate_);
    const std::string name = "rank" + std::to_string(made_++);
    Save(name, certificate, key);
    options.certificate_file = Path(name + ".pem");
    options.key_file = Path(name + ".key");
    X509_free(certificate);
    EVP_PKEY_free(key);
    return options;
  }

 private:
  X509* Make(const char* subject, EVP_PKEY* key, const std::string& names, int64_t seconds, X509* issuer) {
    X509* made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(made), -2 * kTlsDay);
    X509_gmtime_adj(X509_getm_notAfter(made), seconds);
    X509_set_pubkey(made, key);
    X509_NAME* name = X509_get_subject_name(made);
    const std::string text = subject;
    const void* bytes = text.data();
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, static_cast<const unsigned char*>(bytes), -1, -1, 0);
    X509_set_issuer_name(made, issuer != nullptr ? X509_get_subject_name(issuer) : name);
    Extend(made, NID_basic_constraints, issuer != nullptr ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (!names.empty()) {
      Extend(made, NID_subject_alt_name, names.c_str());
    }
    EXPECT_GT(X509_sign(made, key_, EVP_sha256()), 0);
    return made;
  }
  static void Extend(X509* certificate, int id, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, id, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  void Save(const std::string& name, X509* certificate, EVP_PKEY* key) {
    BIO* file = BIO_new_file(Path(name + ".pem").c_str(), "w");
    EXPECT_EQ(PEM_write_bio_X509(file, certificate), 1);
    BIO_free(file);
    if (key != nullptr) {
      file = BIO_new_file(Path(name + ".key").c_str(), "w");
      EXPECT_EQ(PEM_write_bio_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
      BIO_free(file);
    }
  }

  std::filesystem::path folder_;
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
  int made_ = 0;
  int serial_ = 0;
};

/// What a man in the middle of one end sees and does.
struct TlsMiddle {
  std::string seen;  // while `listens`
  bool listens = false;
  bool flips = false;  // one bit of what comes next
  int64_t read = 0;    // bytes that this end has taken
  Stream* below = nullptr;
};

class TlsTap : public Stream {
 public:
  TlsTap(std::unique_ptr<Stream> below, std::shared_ptr<TlsMiddle> middle)
      : below_(std::move(below)), middle_(std::move(middle)) {
    middle_->below = below_.get();
  }
  arrow::Future<> Read(std::span<uint8_t> into) override { return below_->Read(into); }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override {
    return below_->ReadSome(into).Then([middle = middle_, into](const int64_t& count) {
      middle->read += count;
      if (middle->flips && count > 0) {
        into[static_cast<size_t>(count) / 2] ^= 4;
        middle->flips = false;
      }
      if (middle->listens) {
        middle->seen.append(into.begin(), into.begin() + count);
      }
      return count;
    });
  }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    for (const auto& part : parts) {
      if (middle_->listens) {
        middle_->seen.append(part.begin(), part.end());
      }
    }
    return below_->Write(std::move(parts));
  }
  void EndWrites() override { below_->EndWrites(); }
  void Close() override { below_->Close(); }
  std::string peer_name() const override { return below_->peer_name(); }
  bool is_loopback() const override { return below_->is_loopback(); }

 private:
  std::unique_ptr<Stream> below_;
  std::shared_ptr<TlsMiddle> middle_;
};

class TlsStreamTest : public ::testing::Test {
 protected:
  TlsStreamTest() {
    pair.near = std::make_unique<TlsTap>(std::move(pair.near), near_middle);
    pair.far = std::make_unique<TlsTap>(std::move(pair.far), far_middle);
  }

  arrow::Future<std::unique_ptr<Stream>> Dial(TlsOptions options, TimePoint deadline = kNever) {
    return Spawn(pair.executor, TlsAsDialler(std::move(pair.near), pair.executor, std::move(options), deadline));
  }
  arrow::Future<std::unique_ptr<Stream>> Listen(TlsOptions options, TimePoint deadline = kNever) {
    return Spawn(pair.executor, TlsAsListener(std::move(pair.far), pair.executor, std::move(options), deadline));
  }
  /// The outcome; where it is a stream, that is put at `end` of the pair.
  arrow::Status Settle(arrow::Future<std::unique_ptr<Stream>> future, std::unique_ptr<Stream>* end) {
    RETURN_NOT_OK(pair.executor.Wait(arrow::Future<>(future), pair.executor.Now() + kPatience));
    auto result = future.MoveResult();
    if (result.ok()) {
      *end = std::move(*result);
    }
    return result.status();
  }
  void Connect(TlsOptions dialler, TlsOptions listener) {
    auto listening = Listen(std::move(listener));
    auto dialling = Dial(std::move(dialler));
    dialled = Settle(std::move(dialling), &pair.near);
    listened = Settle(std::move(listening), &pair.far);
  }
  void ConnectKeyed() {
    Connect(Keyed(), Keyed());
    ASSERT_TRUE(dialled.ok()) << dialled;
    ASSERT_TRUE(listened.ok()) << listened;
  }
  /// What the listener makes of raw bytes.
  arrow::Status Tell(const std::string& bytes, TlsOptions options) {
    auto writing = pair.Start([&] { return pair.near->Write({Bytes(std::string_view(bytes))}); });
    auto listening = Listen(std::move(options));
    auto status = Settle(std::move(listening), &pair.far);
    EXPECT_TRUE(pair.executor.Wait(writing, pair.executor.Now() + kPatience).ok());
    return status;
  }
  /// Both ways at once, in parts of many sizes.
  void Exchange(size_t size) {
    std::string sent(size, 'x');
    for (size_t i = 0; i < sent.size(); ++i) {
      sent[i] = static_cast<char>(i * 2654435761U >> 13);
    }
    std::vector<std::span<const uint8_t>> parts;
    for (size_t at = 0; at < size;) {
      const size_t part = std::min(size - at, at < 50000 ? at % 7 + at % 2 : at % 300007 + 1);
      parts.push_back(Bytes(std::string_view(sent).substr(at, part == 0 && at % 3 == 0 ? 1 : part)));
      at += parts.back().size();
      if (part == 0 && parts.back().empty()) {
        parts.push_back(Bytes(std::string_view(sent).substr(at++, 1)));
      }
    }
    std::string at_far(size, '\0');
    std::string at_near(size, '\0');
    auto far_reading = pair.Start([&] { return pair.far->Read(Bytes(at_far)); });
    auto near_reading = pair.Start([&] { return pair.near->Read(Bytes(at_near)); });
    auto near_writing = pair.Start([&] { return pair.near->Write(parts); });
    auto far_writing = pair.Start([&] { return pair.far->Write({Bytes(std::string_view(sent))}); });
    for (const auto& future : {near_writing, far_writing, far_reading, near_reading}) {
      const arrow::Status status = pair.Await(future);
      ASSERT_TRUE(status.ok()) << status;
    }
    EXPECT_TRUE(at_far == sent);
    EXPECT_TRUE(at_near == sent);
  }
  std::string Receive(std::unique_ptr<Stream>& end, size_t size) {
    std::string into(size, '\0');
    auto reading = pair.Start([&] { return end->Read(Bytes(into)); });
    const arrow::Status status = pair.Await(reading);
    EXPECT_TRUE(status.ok()) << status;
    return into;
  }
  void Send(std::unique_ptr<Stream>& end, const std::string& text) {
    auto writing = pair.Start([&] { return end->Write({Bytes(std::string_view(text))}); });
    const arrow::Status status = pair.Await(writing);
    EXPECT_TRUE(status.ok()) << status;
  }

  StreamPair pair;
  std::shared_ptr<TlsMiddle> near_middle = std::make_shared<TlsMiddle>();
  std::shared_ptr<TlsMiddle> far_middle = std::make_shared<TlsMiddle>();
  arrow::Status dialled;
  arrow::Status listened;
};

/// With an authority whose certificate for "worker.test" the listener shows.
class TlsCertificateTest : public TlsStreamTest {
 protected:
  TlsOptions Trusting(const std::string& server_name) const { return TrustingIn(authority.ca(), server_name); }
  TlsAuthority authority;
  TlsOptions listener = authority.Certify("DNS:worker.test,IP:127.0.0.1");
};

/// A dialler of plain OpenSSL over the near end: what honest code never does can be done with it.
class TlsRawPeer {
 public:
  TlsRawPeer(StreamPair& pair, int version) : pair_(pair), context_(SSL_CTX_new(TLS_method())) {
    SSL_CTX_set_max_proto_version(context_, version);
    ssl_ = SSL_new(context_);
    SSL_set_connect_state(ssl_);
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_, in_, out_);
  }
  ~TlsRawPeer() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  TlsRawPeer(const TlsRawPeer&) = delete;
  TlsRawPeer& operator=(const TlsRawPeer&) = delete;

  SSL* ssl() { return ssl_; }

  /// Until `call` is content or has failed.
  template <typename F>
  int Do(F call) {
    while (true) {
      ERR_clear_error();
      const int returned = call(ssl_);
      const int error = SSL_get_error(ssl_, returned);
      Flush();
      if (returned > 0 || error != SSL_ERROR_WANT_READ) {
        return returned;
      }
      std::string buffer(64 << 10, '\0');
      auto reading = pair_.Start([&] { return pair_.near->ReadSome(Bytes(buffer)); });
      auto count = pair_.Await(reading);
      if (!count.ok() || *count == 0) {
        return -1;
      }
      BIO_write(in_, buffer.data(), static_cast<int>(*count));
    }
  }
  void Flush() {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out_, &bytes);
    const std::string copy(bytes, static_cast<size_t>(size));
    static_cast<void>(BIO_reset(out_));
    auto writing = pair_.Start([&] { return pair_.near->Write({Bytes(std::string_view(copy))}); });
    static_cast<void>(pair_.Await(writing));
  }

 private:
  StreamPair& pair_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
};

TEST_F(TlsStreamTest, TwoWithOneSecretTalkBothWaysAtOnce) {
  ConnectKeyed();
  Exchange(1);
  Exchange(1000);
  Exchange(50 << 20);
  EXPECT_EQ(pair.near->peer_name(), pair.listener->address().ToString());
  EXPECT_TRUE(pair.near->is_loopback());
}

TEST_F(TlsCertificateTest, ACertificateThatVerifiesOpensTheConnection) {
  Connect(Trusting("worker.test"), listener);
  ASSERT_TRUE(dialled.ok()) << dialled;
  ASSERT_TRUE(listened.ok()) << listened;
  Exchange(1);
  Exchange(50 << 20);
}

TEST_F(TlsCertificateTest, AnAddressIsComparedAsAnAddress) {
  Connect(Trusting("127.0.0.1"), listener);
  EXPECT_TRUE(dialled.ok()) << dialled;
  EXPECT_TRUE(listened.ok()) << listened;
}

TEST_F(TlsStreamTest, NothingOfTheTextIsOnTheWire) {
  far_middle->listens = true;
  ConnectKeyed();
  const std::string text = "the text that nobody else may read";
  Send(pair.near, text);
  EXPECT_EQ(Receive(pair.far, text.size()), text);
  Send(pair.far, text);
  EXPECT_EQ(Receive(pair.near, text.size()), text);
  pair.Do([&] {
    EXPECT_GT(far_middle->seen.size(), 2 * text.size());
    EXPECT_THAT(far_middle->seen, Not(HasSubstr("text")));
    EXPECT_THAT(far_middle->seen, Not(HasSubstr(kTlsSecret)));
  });
}

TEST_F(TlsStreamTest, AWrongSecretIsRefusedOnBothSides) {
  Connect(Keyed(std::string(32, 't')), Keyed());
  for (const auto& status : {dialled, listened}) {
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(), HasSubstr("does not know the job's secret"));
    EXPECT_THAT(status.message(), HasSubstr("CYLON_SECRET_FILE"));
  }
}

TEST_F(TlsCertificateTest, WithoutTheKeyNobodyGetsIntoAKeyedListener) {
  Connect(Trusting("worker.test"), Keyed());
  EXPECT_TRUE(IsError(listened, ErrorKind::kAuthentication)) << listened;
  EXPECT_THAT(listened.message(), HasSubstr("does not know the job's secret"));
  EXPECT_TRUE(IsError(dialled, ErrorKind::kProtocol)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("both sides use the same kind of key"));
}

TEST_F(TlsCertificateTest, AKeyedDiallerTakesNoCertificateForTheKey) {
  TlsOptions both = Trusting("worker.test");
  both.secret = kTlsSecret;
  Connect(both, listener);
  EXPECT_TRUE(IsError(dialled, ErrorKind::kAuthentication)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("does not know the job's secret"));
  EXPECT_FALSE(listened.ok());
}

TEST_F(TlsCertificateTest, ACertificateForAnotherHostIsRefused) {
  Connect(Trusting("other.test"), listener);
  EXPECT_TRUE(IsError(dialled, ErrorKind::kAuthentication)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("the certificate of other.test (127.0.0.1:"));
  EXPECT_THAT(dialled.message(), HasSubstr("hostname mismatch"));
  EXPECT_THAT(dialled.message(), HasSubstr("have one made for other.test"));
  EXPECT_TRUE(IsError(listened, ErrorKind::kAuthentication)) << listened;
  EXPECT_THAT(listened.message(), HasSubstr("refused this side's certificate"));
}

TEST_F(TlsCertificateTest, ACertificateForAnotherAddressIsRefused) {
  Connect(Trusting("127.0.0.2"), listener);
  EXPECT_TRUE(IsError(dialled, ErrorKind::kAuthentication)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("IP address mismatch"));
}

TEST_F(TlsCertificateTest, AnAuthorityThatIsNotTrustedIsNoAuthority) {
  const TlsAuthority other("another authority");
  Connect(TrustingIn(other.ca(), "worker.test"), listener);
  EXPECT_TRUE(IsError(dialled, ErrorKind::kAuthentication)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("unable to get local issuer certificate"));
  EXPECT_THAT(dialled.message(), HasSubstr("now: " + other.ca()));
  EXPECT_TRUE(IsError(listened, ErrorKind::kAuthentication)) << listened;
}

TEST_F(TlsCertificateTest, AnAuthorityThatBorrowsANameIsNoAuthority) {
  const TlsAuthority other;
  Connect(TrustingIn(other.ca(), "worker.test"), listener);
  EXPECT_TRUE(IsError(dialled, ErrorKind::kAuthentication)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("certificate signature failure"));
  EXPECT_TRUE(IsError(listened, ErrorKind::kAuthentication)) << listened;
  EXPECT_THAT(listened.message(), HasSubstr("refused this side's certificate"));
}

TEST_F(TlsCertificateTest, TheSystemDoesNotTrustAnybody) {
  Connect(TrustingIn("", "worker.test"), listener);
  EXPECT_TRUE(IsError(dialled, ErrorKind::kAuthentication)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("now: the system's"));
}

TEST_F(TlsCertificateTest, AnExpiredCertificateIsRefused) {
  Connect(Trusting("worker.test"), authority.Certify("DNS:worker.test", -kTlsDay));
  EXPECT_TRUE(IsError(dialled, ErrorKind::kAuthentication)) << dialled;
  EXPECT_THAT(dialled.message(), HasSubstr("worker.test"));
  EXPECT_THAT(dialled.message(), HasSubstr("has expired; renew it"));
}

TEST_F(TlsCertificateTest, AListenerMayAskForACertificateToo) {
  listener.ca_file = authority.ca();
  Connect(authority.Certify("DNS:rank1.test", kTlsDay, Trusting("worker.test")), listener);
  ASSERT_TRUE(dialled.ok()) << dialled;
  ASSERT_TRUE(listened.ok()) << listened;
  Exchange(1000);
}

TEST_F(TlsCertificateTest, ADiallerWithoutACertificateIsToldSo) {
  listener.ca_file = authority.ca();
  auto listening = Listen(listener);
  dialled = Settle(Dial(Trusting("worker.test")), &pair.near);
  ASSERT_TRUE(dialled.ok()) << dialled;  // complete for it before the listener can object
  std::string into(1, '\0');
  auto reading = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  const auto status = pair.Await(reading);
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
  EXPECT_THAT(status.message(), HasSubstr("certificate required"));
  pair.Do([&] { pair.near->Close(); });
  listened = Settle(std::move(listening), &pair.far);
  EXPECT_TRUE(IsError(listened, ErrorKind::kAuthentication)) << listened;
  EXPECT_THAT(listened.message(), HasSubstr("showed no certificate"));
}

TEST_F(TlsStreamTest, ADiallerSaysThatTheListenerDoesNotSpeakTls) {
  auto dialling = Dial(Keyed());
  Send(pair.far, "HTTP/1.1 400 Bad Request\r\n\r\n");
  const auto status = Settle(std::move(dialling), &pair.near);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("does not speak TLS"));
}

TEST_F(TlsCertificateTest, AListenerSaysThatTheDiallerDoesNotSpeakTls) {
  const auto status = Tell("GET / HTTP/1.1\r\n\r\n", listener);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("does not speak TLS"));
}

TEST_F(TlsStreamTest, APeerThatGoesIsSaidToHaveEndedTheHandshake) {
  auto dialling = Dial(Keyed());
  pair.Do([&] { pair.far->Close(); });
  const auto status = Settle(std::move(dialling), &pair.near);
  EXPECT_TRUE(IsEndOfStream(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("ended the TLS handshake"));
}

TEST_F(TlsStreamTest, ASilentPeerIsLeftAtTheDeadline) {
  const auto deadline = pair.executor.Now() + std::chrono::milliseconds(50);
  auto listening = Listen(Keyed(), deadline);
  const auto status = Settle(std::move(listening), &pair.far);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("did not finish the TLS handshake in time"));
  // The stream below is closed: the silent one sees its end (after what the other side had to say: nothing).
  std::string into(10, '\0');
  auto reading = pair.Start([&] { return pair.near->ReadSome(Bytes(into)); });
  EXPECT_EQ(pair.Await(reading).ValueOr(-1), 0);
}

TEST_F(TlsStreamTest, ASilentListenerIsLeftAtTheDeadline) {
  const auto deadline = pair.executor.Now() + std::chrono::milliseconds(50);
  const auto status = Settle(Dial(Keyed(), deadline), &pair.near);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
}

TEST_F(TlsCertificateTest, GarbageThatLooksLikeRecordsIsRefused) {
  const std::string record = std::string("\x16\x03\x01\x40\x00", 5) + std::string(16 << 10, 'x');
  std::string garbage;
  for (int i = 0; i < 20; ++i) {
    garbage += record;
  }
  const auto status = Tell(garbage, listener);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_LE(far_middle->read, 64 << 10);
}

TEST_F(TlsCertificateTest, NoMoreThanItsShareIsReadFromAStranger) {
  // A greeting of 16000 bytes, a byte to a record of 6: nothing is wrong with it so far.
  std::string drip = std::string("\x16\x03\x01\x00\x04\x01\x00\x3e\x80", 9);
  for (int i = 0; i < 15000; ++i) {
    drip += std::string("\x16\x03\x01\x00\x01\x03", 6);
  }
  const auto status = Tell(drip, listener);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("sent 65536 bytes without finishing the TLS handshake"));
  EXPECT_EQ(far_middle->read, 64 << 10);
}

TEST_F(TlsCertificateTest, OlderVersionsAreNotSpoken) {
  auto listening = Listen(listener);
  TlsRawPeer old(pair, TLS1_2_VERSION);
  EXPECT_LT(old.Do(SSL_do_handshake), 1);
  const auto status = Settle(std::move(listening), &pair.far);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("does not speak TLS 1.3"));
}

TEST_F(TlsStreamTest, WhatWasChangedOnTheWayIsAnErrorAndNeverData) {
  ConnectKeyed();
  Send(pair.near, "before");
  EXPECT_EQ(Receive(pair.far, 6), "before");
  far_middle->flips = true;
  Send(pair.near, std::string(1000, 'x'));
  std::string into(1000, '\0');
  for (int i = 0; i < 2; ++i) {
    auto reading = pair.Start([&] { return pair.far->ReadSome(Bytes(into)); });
    const auto status = pair.Await(reading).status();
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(), HasSubstr("was changed on the way"));
  }
  EXPECT_EQ(into, std::string(1000, '\0'));
  auto writing = pair.Start([&] { return pair.far->Write({Bytes("x")}); });
  EXPECT_TRUE(IsError(pair.Await(writing), ErrorKind::kProtocol));
  // The other end hears of it.
  auto reading = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  const auto told = pair.Await(reading);
  EXPECT_TRUE(IsError(told, ErrorKind::kProtocol)) << told;
  EXPECT_THAT(told.message(), HasSubstr("bad record mac"));
}

TEST_F(TlsStreamTest, AnErrorOfReadingEndsTheWriteThatWaits) {
  ConnectKeyed();
  const std::string much(64 << 20, 'x');
  auto writing = pair.Start([&] { return pair.far->Write({Bytes(std::string_view(much))}); });
  EXPECT_FALSE(writing.is_finished());
  far_middle->flips = true;
  Send(pair.near, "x");
  std::string into(1, '\0');
  auto reading = pair.Start([&] { return pair.far->Read(Bytes(into)); });
  EXPECT_TRUE(IsError(pair.Await(reading), ErrorKind::kProtocol));
  EXPECT_TRUE(IsError(pair.Await(writing), ErrorKind::kProtocol));
}

TEST_F(TlsStreamTest, TellsTheEndOfStream) {
  ConnectKeyed();
  Send(pair.far, "12345");
  std::string into(10, '\0');
  auto reading = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  pair.Do([&] { pair.far->Close(); });
  const arrow::Status status = pair.Await(reading);
  EXPECT_TRUE(IsEndOfStream(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("connection closed by 127.0.0.1:"));
  auto some = pair.Start([&] { return pair.near->ReadSome(Bytes(into)); });
  EXPECT_EQ(pair.Await(some).ValueOr(-1), 0);
  auto again = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  EXPECT_TRUE(IsEndOfStream(pair.Await(again)));
}

TEST_F(TlsStreamTest, WhoEndsItsWritesIsStillWrittenTo) {
  ConnectKeyed();
  const std::string much(8 << 20, 'x');
  std::string at_far(much.size(), '\0');
  auto reading = pair.Start([&] { return pair.far->Read(Bytes(at_far)); });
  Send(pair.near, much);
  pair.Do([&] {
    pair.near->EndWrites();
    pair.near->EndWrites();
  });
  ASSERT_TRUE(pair.Await(reading).ok());
  EXPECT_TRUE(at_far == much);
  auto end = pair.Start([&] { return pair.far->ReadSome(Bytes(at_far)); });
  EXPECT_EQ(pair.Await(end).ValueOr(-1), 0);
  Send(pair.far, "answer");
  EXPECT_EQ(Receive(pair.near, 6), "answer");
  pair.Do([&] { pair.far->EndWrites(); });
  auto other_end = pair.Start([&] { return pair.near->ReadSome(Bytes(at_far)); });
  EXPECT_EQ(pair.Await(other_end).ValueOr(-1), 0);
}

TEST_F(TlsStreamTest, APlainEndOfTheStreamBelowIsAnEndToo) {
  ConnectKeyed();
  std::string into(10, '\0');
  auto reading = pair.Start([&] { return pair.near->ReadSome(Bytes(into)); });
  EXPECT_FALSE(reading.is_finished());
  pair.Do([&] { far_middle->below->Close(); });
  EXPECT_EQ(pair.Await(reading).ValueOr(-1), 0);
  auto again = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  EXPECT_TRUE(IsEndOfStream(pair.Await(again)));
}

TEST_F(TlsStreamTest, ClosingFinishesWhatIsUnderWay) {
  ConnectKeyed();
  std::string into(10, '\0');
  const std::string much(64 << 20, 'x');
  auto reading = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  auto writing = pair.Start([&] { return pair.near->Write({Bytes(std::string_view(much))}); });
  auto second = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  EXPECT_TRUE(second.status().IsInvalid());
  EXPECT_THAT(second.status().message(), HasSubstr("is under way"));
  auto second_write = pair.Start([&] { return pair.near->Write({Bytes("x")}); });
  EXPECT_TRUE(second_write.status().IsInvalid());
  pair.Do([&] {
    pair.near->Close();
    EXPECT_TRUE(reading.is_finished());
    EXPECT_TRUE(writing.is_finished());
    EXPECT_FALSE(pair.near->Write({Bytes("x")}).status().ok());
    EXPECT_FALSE(pair.near->ReadSome(Bytes(into)).status().ok());
  });
  EXPECT_FALSE(reading.status().ok());
  EXPECT_FALSE(writing.status().ok());
  EXPECT_FALSE(IsEndOfStream(reading.status()));
}

TEST_F(TlsStreamTest, DestructionFinishesWhatIsUnderWay) {
  ConnectKeyed();
  std::string into(10, '\0');
  const std::string much(64 << 20, 'x');
  auto reading = pair.Start([&] { return pair.near->ReadSome(Bytes(into)); });
  auto writing = pair.Start([&] { return pair.near->Write({Bytes(std::string_view(much))}); });
  pair.Do([&] {
    pair.near.reset();
    EXPECT_TRUE(reading.is_finished());
    EXPECT_TRUE(writing.is_finished());
  });
  EXPECT_FALSE(reading.status().ok());
  EXPECT_FALSE(writing.status().ok());
}

TEST_F(TlsStreamTest, WhoIsToldMayLetGoOfTheStream) {
  ConnectKeyed();
  std::string into(5, '\0');
  auto gone = arrow::Future<>::Make();
  pair.Do([&] {
    pair.near->Read(Bytes(into)).AddCallback([&](const arrow::Status&) {
      pair.near.reset();
      gone.MarkFinished();
    });
  });
  Send(pair.far, "12345");
  EXPECT_TRUE(pair.Await(gone).ok());
  EXPECT_EQ(into, "12345");
}

TEST_F(TlsStreamTest, NeitherDirectionHoldsUpTheOther) {
  ConnectKeyed();
  std::string into(5, '\0');
  auto waiting = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  Send(pair.near, "there");  // though a read waits
  EXPECT_EQ(Receive(pair.far, 5), "there");
  const std::string much(64 << 20, 'x');
  auto writing = pair.Start([&] { return pair.near->Write({Bytes(std::string_view(much))}); });
  Send(pair.far, "back!");  // though a write waits
  EXPECT_TRUE(pair.Await(waiting).ok());
  EXPECT_EQ(into, "back!");
  EXPECT_FALSE(writing.is_finished());
  EXPECT_TRUE(Receive(pair.far, much.size()) == much);
  EXPECT_TRUE(pair.Await(writing).ok());
}

TEST_F(TlsStreamTest, BuffersThatGrowAndGoLoseNothing) {
  ConnectKeyed();
  for (const size_t large : {1022, 1023, 1024, 1025, 16 << 10, 300 << 10}) {
    for (const size_t size : {size_t{1}, large, large, size_t{5}, size_t{5}}) {
      Exchange(size);
    }
  }
}

TEST_F(TlsStreamTest, NothingIsReadAndWrittenAtOnce) {
  ConnectKeyed();
  pair.Do([&] {
    EXPECT_TRUE(pair.near->Read({}).status().ok());
    EXPECT_EQ(pair.near->ReadSome({}).result().ValueOr(-1), 0);
    EXPECT_TRUE(pair.near->Write({}).status().ok());
    EXPECT_TRUE(pair.near->Write({Bytes("").first(0), {}}).status().ok());
  });
  Exchange(10);
}

TEST_F(TlsCertificateTest, NewKeysAreAnsweredWhileAWriteWaits) {
  auto listening = Listen(listener);
  TlsRawPeer peer(pair, TLS1_3_VERSION);
  ASSERT_EQ(peer.Do(SSL_do_handshake), 1);
  ASSERT_TRUE(Settle(std::move(listening), &pair.far).ok());
  const std::string much(16 << 20, 'x');
  auto writing = pair.Start([&] { return pair.far->Write({Bytes(std::string_view(much))}); });
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(peer.Do([](SSL* ssl) { return SSL_write(ssl, "12345", 5); }), 5);
    EXPECT_EQ(Receive(pair.far, 5), "12345");
  }
  EXPECT_FALSE(writing.is_finished());
  std::string got;
  std::string buffer(16 << 10, '\0');
  while (got.size() < much.size()) {
    const int count = peer.Do([&](SSL* ssl) { return SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size())); });
    ASSERT_GT(count, 0);
    got.append(buffer, 0, static_cast<size_t>(count));
  }
  EXPECT_TRUE(got == much);
  EXPECT_TRUE(pair.Await(writing).ok());
  // And the answers are where they have to be: what follows can be read.
  Send(pair.far, "after");
  ASSERT_EQ(peer.Do([&](SSL* ssl) { return SSL_read(ssl, buffer.data(), 5); }), 5);
  EXPECT_EQ(buffer.substr(0, 5), "after");
}

TEST_F(TlsCertificateTest, NewKeysWithoutEndAreAnError) {
  auto listening = Listen(listener);
  TlsRawPeer peer(pair, TLS1_3_VERSION);
  ASSERT_EQ(peer.Do(SSL_do_handshake), 1);
  ASSERT_TRUE(Settle(std::move(listening), &pair.far).ok());
  const std::string much(64 << 20, 'x');
  auto writing = pair.Start([&] { return pair.far->Write({Bytes(std::string_view(much))}); });
  std::string into(1, '\0');
  auto reading = pair.Start([&] { return pair.far->Read(Bytes(into)); });
  for (int i = 0; i < 20000 && !reading.is_finished(); ++i) {
    ASSERT_EQ(SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(SSL_do_handshake(peer.ssl()), 1);
    if (i % 1000 == 999) {
      peer.Flush();
    }
  }
  const auto status = pair.Await(reading);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("new keys without end"));
  EXPECT_TRUE(IsError(pair.Await(writing), ErrorKind::kProtocol));
}

TEST_F(TlsCertificateTest, FilesThatCannotBeUsedAreNamed) {
  const std::string missing = authority.Path("missing.pem");
  const std::string text = authority.Path("text.pem");
  std::ofstream(text) << "not a certificate\n";
  const std::string locked = authority.Path("locked.key");
  EVP_PKEY* key = EVP_EC_gen("P-256");
  BIO* file = BIO_new_file(locked.c_str(), "w");
  EXPECT_EQ(PEM_write_bio_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), "pass", 4, nullptr, nullptr), 1);
  BIO_free(file);
  EVP_PKEY_free(key);
  const TlsOptions other = authority.Certify("DNS:other.test");
  const auto with = [&](std::string TlsOptions::* field, const std::string& path) {
    TlsOptions options = listener;
    options.*field = path;
    return options;
  };
  const std::tuple<TlsOptions, arrow::StatusCode, std::string> cases[] = {
      {with(&TlsOptions::ca_file, missing), arrow::StatusCode::IOError, "cannot read the CA file " + missing},
      {with(&TlsOptions::certificate_file, missing), arrow::StatusCode::IOError, "certificate file " + missing},
      {with(&TlsOptions::key_file, missing), arrow::StatusCode::IOError, "key file " + missing},
      {with(&TlsOptions::ca_file, text), arrow::StatusCode::Invalid, "CA file " + text},
      {with(&TlsOptions::certificate_file, text), arrow::StatusCode::Invalid, "certificate file " + text},
      {with(&TlsOptions::key_file, text), arrow::StatusCode::Invalid, "key file " + text},
      {with(&TlsOptions::key_file, locked), arrow::StatusCode::Invalid, "key file " + locked},
      {with(&TlsOptions::key_file, other.key_file), arrow::StatusCode::Invalid, "key values mismatch"},
      {with(&TlsOptions::key_file, ""), arrow::StatusCode::Invalid, "give both or none"},
      {{}, arrow::StatusCode::Invalid, "neither a secret nor a certificate"}};
  for (const auto& [options, code, what] : cases) {
    StreamPair fresh;
    auto listening = Spawn(fresh.executor, TlsAsListener(std::move(fresh.far), fresh.executor, options, kNever));
    ASSERT_TRUE(fresh.executor.Wait(arrow::Future<>(listening), fresh.executor.Now() + kPatience).ok());
    EXPECT_EQ(listening.status().code(), code) << listening.status();
    EXPECT_THAT(listening.status().message(), HasSubstr(what));
  }
}

TEST_F(TlsCertificateTest, WithoutANameNothingIsDialled) {
  const auto status = Settle(Dial(Trusting("")), &pair.near);
  EXPECT_TRUE(status.IsInvalid()) << status;
  EXPECT_THAT(status.message(), HasSubstr("give the DNS name or the IP address"));
}

}  // namespace
}  // namespace cylon::testing
