// One end of a TLS 1.3 connection without its wire.
#include "cylon/wire/tls_session.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cylon/base/error.h"

namespace cylon {

namespace {

/// The key's name on the wire. It tells strangers nothing of the job.
constexpr std::string_view kTlsKeyName = "cylon";
/// The secret is also an HMAC key (of the handshake above), so TLS gets one of its own, derived under this label.
constexpr char kTlsKeyLabel[] = "cylon tls 1.3 external psk";
constexpr size_t kTlsKeyBytes = 32;
/// TLS_AES_128_GCM_SHA256: fast everywhere, and its hash is the one that a pre-shared key goes with by default.
constexpr char kTlsKeyedSuite[] = "TLS_AES_128_GCM_SHA256";
constexpr std::array<unsigned char, 2> kTlsKeyedSuiteId = {0x13, 0x01};
/// AES-GCM keeps its promises for 2^24.5 full records under one key (RFC 8446, 5.5), some 380 GiB; OpenSSL does not
/// count them.
constexpr int64_t kTlsRekeyRecords = int64_t{1} << 22;
/// SSL_R_... of an alert that was received is this much more than the alert's number.
constexpr int kTlsAlertReason = SSL_AD_REASON_OFFSET;

template <auto Free>
struct TlsFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsFree<SSL_CTX_free>>;

/// A key that needs a passphrase is refused: OpenSSL would ask for it on the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

std::string TlsReason(unsigned long error) {
  const char* reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : "OpenSSL error " + std::to_string(error);
}

/// Drains the queue. The first error of TLS itself is the one to tell, the last one where there is none.
unsigned long TakeTlsError() {
  unsigned long told = 0;
  while (const unsigned long error = ERR_get_error()) {
    if (told == 0 || ERR_GET_LIB(told) != ERR_LIB_SSL) {
      told = error;
    }
  }
  return told;
}

arrow::Status CheckTlsFile(const std::string& path, const char* what) {
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) {
    return arrow::Status::IOError("cannot read the ", what, " file ", path, ": ", std::strerror(errno),
                                  "; name a PEM file that this process may read");
  }
  static_cast<void>(std::fclose(file));
  return arrow::Status::OK();
}

arrow::Status NotPem(const std::string& path, const char* what) {
  return arrow::Status::Invalid("the ", what, " file ", path, " cannot be used: ", TlsReason(TakeTlsError()),
                                "; name a PEM file without a passphrase");
}

arrow::Status TlsStranger(const std::string& who) {
  return AuthenticationError(who + " does not know the job's secret; start all ranks with the same CYLON_SECRET or " +
                             "CYLON_SECRET_FILE");
}

/// What is common to all connections.
arrow::Result<TlsContext> MakeTlsContext() {
  TlsContext context(SSL_CTX_new(TLS_method()));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION) != 1) {
    return arrow::Status::IOError("OpenSSL offers no TLS 1.3: ", TlsReason(TakeTlsError()),
                                  "; check this machine's OpenSSL and its configuration");
  }
  // No resumption in any form: a connection lives as long as its job, and a ticket would be a second key to it.
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  // psk_ke, a key without a fresh exchange, is what this would allow.
  SSL_CTX_clear_options(context.get(), SSL_OP_ALLOW_NO_DHE_KEX);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(context.get(), 0);
  SSL_CTX_set_recv_max_early_data(context.get(), 0);
  SSL_CTX_set_default_passwd_cb(context.get(), NoPassphrase);
  return context;
}

/// What to do about a certificate that does not verify.
std::string CertificateAdvice(long verdict, const TlsOptions& options) {
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "dial a name or address that the certificate is for, or have one made for " + options.server_name;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "renew it, or set this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "set the clocks of both machines";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return "name the certificate of who signed it as the CA file (now: " +
             (options.ca_file.empty() ? "the system's" : options.ca_file) + ")";
    default:
      return "have one made that is good for this use of TLS";
  }
}

}  // namespace

TlsSession::TlsSession(TlsRole role, TlsOptions options, std::string peer)
    : role_(role), options_(std::move(options)), peer_(std::move(peer)), keyed_(!options_.secret.empty()) {}

TlsSession::~TlsSession() {
  SSL_free(ssl_);
  OPENSSL_cleanse(key_.data(), key_.size());
  OPENSSL_cleanse(options_.secret.data(), options_.secret.size());
}

arrow::Result<std::unique_ptr<TlsSession>> TlsSession::Make(TlsRole role, TlsOptions options, std::string peer) {
  ERR_clear_error();
  auto session = std::make_unique<TlsSession>(role, std::move(options), std::move(peer));
  TlsContext own;
  SSL_CTX* context = nullptr;
  if (session->keyed_) {
    ARROW_RETURN_NOT_OK(session->MakeKey());
    ARROW_ASSIGN_OR_RAISE(context, KeyedContext(role));
  } else {
    ARROW_ASSIGN_OR_RAISE(own, MakeTlsContext());
    ARROW_RETURN_NOT_OK(session->UseCertificates(own.get()));
    context = own.get();
  }
  session->ssl_ = SSL_new(context);
  if (session->ssl_ == nullptr) {
    return arrow::Status::IOError("cannot begin a TLS connection with ", session->peer_, ": ",
                                  TlsReason(TakeTlsError()));
  }
  SSL_set_app_data(session->ssl_, session.get());
  if (role == TlsRole::kListener) {
    SSL_set_accept_state(session->ssl_);
  } else {
    SSL_set_connect_state(session->ssl_);
    if (!session->keyed_) {
      ARROW_RETURN_NOT_OK(session->ExpectServerName());
    }
  }
  return session;
}

void TlsSession::SetWire(BIO* wire) { SSL_set_bio(ssl_, wire, wire); }

/// One for all connections of a role, which know their keys themselves: of its own each would have 12 KiB more. It is
/// never freed, as connections may outlast whatever would do that.
arrow::Result<SSL_CTX*> TlsSession::KeyedContext(TlsRole role) {
  const auto make = [](TlsRole of) -> arrow::Result<SSL_CTX*> {
    ARROW_ASSIGN_OR_RAISE(TlsContext context, MakeTlsContext());
    if (SSL_CTX_set_ciphersuites(context.get(), kTlsKeyedSuite) != 1) {
      return arrow::Status::IOError("OpenSSL offers no ", kTlsKeyedSuite, ": ", TlsReason(TakeTlsError()),
                                    "; check this machine's OpenSSL and its configuration");
    }
    if (of == TlsRole::kListener) {
      // It has no certificate, so there is no way to it but the key.
      SSL_CTX_set_psk_find_session_callback(context.get(), FindKey);
    } else {
      SSL_CTX_set_psk_use_session_callback(context.get(), OfferKey);
      // A listener that does not take the key would show a certificate instead: nobody is trusted to have signed it.
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    }
    return context.release();
  };
  static const arrow::Result<SSL_CTX*> kListens = make(TlsRole::kListener);
  static const arrow::Result<SSL_CTX*> kDials = make(TlsRole::kDialler);
  return role == TlsRole::kListener ? kListens : kDials;
}

arrow::Status TlsSession::MakeKey() {
  key_.resize(kTlsKeyBytes);
  const std::unique_ptr<EVP_KDF, TlsFree<EVP_KDF_free>> hkdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, TlsFree<EVP_KDF_CTX_free>> context(EVP_KDF_CTX_new(hkdf.get()));
  std::string hash = "SHA256";
  std::string label = kTlsKeyLabel;
  std::array<OSSL_PARAM, 4> parameters = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, options_.secret.data(), options_.secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, label.data(), label.size()), OSSL_PARAM_construct_end()};
  void* key = key_.data();
  if (context == nullptr ||
      EVP_KDF_derive(context.get(), static_cast<unsigned char*>(key), key_.size(), parameters.data()) != 1) {
    return arrow::Status::IOError("cannot derive a TLS key from the secret: ", TlsReason(TakeTlsError()),
                                  "; check this machine's OpenSSL and its configuration");
  }
  OPENSSL_cleanse(options_.secret.data(), options_.secret.size());
  options_.secret.clear();
  return arrow::Status::OK();
}

SSL_SESSION* TlsSession::KeyAsSession() {
  std::unique_ptr<SSL_SESSION, TlsFree<SSL_SESSION_free>> session(SSL_SESSION_new());
  const SSL_CIPHER* suite = SSL_CIPHER_find(ssl_, kTlsKeyedSuiteId.data());
  const void* key = key_.data();
  if (session == nullptr || suite == nullptr || key_.empty() ||
      SSL_SESSION_set1_master_key(session.get(), static_cast<const unsigned char*>(key), key_.size()) != 1 ||
      SSL_SESSION_set_cipher(session.get(), suite) != 1 ||
      SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1) {
    return nullptr;
  }
  return session.release();
}

int TlsSession::OfferKey(SSL* ssl, const EVP_MD* hash, const unsigned char** name, size_t* size,
                         SSL_SESSION** session) {
  *session = nullptr;
  if (hash != nullptr && !EVP_MD_is_a(hash, "SHA256")) {
    return 1;  // asked again by a listener that has chosen another suite: there is no key for that one
  }
  *session = static_cast<TlsSession*>(SSL_get_app_data(ssl))->KeyAsSession();
  const void* text = kTlsKeyName.data();
  *name = static_cast<const unsigned char*>(text);
  *size = kTlsKeyName.size();
  return *session != nullptr ? 1 : 0;
}

int TlsSession::FindKey(SSL* ssl, const unsigned char* name, size_t size, SSL_SESSION** session) {
  *session = nullptr;
  if (size != kTlsKeyName.size() || std::memcmp(name, kTlsKeyName.data(), size) != 0) {
    return 1;
  }
  *session = static_cast<TlsSession*>(SSL_get_app_data(ssl))->KeyAsSession();
  return *session != nullptr ? 1 : 0;
}

arrow::Status TlsSession::UseCertificates(SSL_CTX* context) {
  const bool listens = role_ == TlsRole::kListener;
  if (listens && options_.certificate_file.empty()) {
    return arrow::Status::Invalid("a TLS listener has neither a secret nor a certificate; give it a secret, or a ",
                                  "certificate file and a key file");
  }
  if (options_.certificate_file.empty() != options_.key_file.empty()) {
    return arrow::Status::Invalid("a certificate file '", options_.certificate_file, "' and a key file '",
                                  options_.key_file, "' were given; give both or none");
  }
  if (!options_.certificate_file.empty()) {
    ARROW_RETURN_NOT_OK(CheckTlsFile(options_.certificate_file, "certificate"));
    ARROW_RETURN_NOT_OK(CheckTlsFile(options_.key_file, "key"));
    if (SSL_CTX_use_certificate_chain_file(context, options_.certificate_file.c_str()) != 1) {
      return NotPem(options_.certificate_file, "certificate");
    }
    // OpenSSL compares the key with the certificate here.
    if (SSL_CTX_use_PrivateKey_file(context, options_.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
      return NotPem(options_.key_file, "key");
    }
  }
  if (!options_.ca_file.empty()) {
    ARROW_RETURN_NOT_OK(CheckTlsFile(options_.ca_file, "CA"));
    if (SSL_CTX_load_verify_file(context, options_.ca_file.c_str()) != 1) {
      return NotPem(options_.ca_file, "CA");
    }
  } else if (!listens && SSL_CTX_set_default_verify_paths(context) != 1) {
    return arrow::Status::IOError("cannot read the system's CA certificates: ", TlsReason(TakeTlsError()),
                                  "; name a CA file");
  }
  if (!listens || !options_.ca_file.empty()) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return arrow::Status::OK();
}

arrow::Status TlsSession::ExpectServerName() {
  const std::string& name = options_.server_name;
  X509_VERIFY_PARAM* expected = SSL_get0_param(ssl_);
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, name.c_str()) == 1) {
    return arrow::Status::OK();  // addresses are never sent as a name
  }
  ERR_clear_error();
  X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  // An empty name would be taken for "any".
  if (name.empty() || name.find('\0') != std::string::npos ||
      X509_VERIFY_PARAM_set1_host(expected, name.data(), name.size()) != 1 ||
      SSL_set_tlsext_host_name(ssl_, name.c_str()) != 1) {
    ERR_clear_error();
    return arrow::Status::Invalid("'", name, "' is no name that the certificate of ", peer_,
                                  " could be for; give the DNS name or the IP address of the listener's machine");
  }
  return arrow::Status::OK();
}

TlsOutcome TlsSession::Handshake() {
  ERR_clear_error();
  const TlsOutcome outcome = Judge(SSL_do_handshake(ssl_));
  if (outcome != TlsOutcome::kDone) {
    return outcome;
  }
  if (keyed_ && SSL_session_reused(ssl_) != 1) {
    failure_ = TlsStranger(peer_);
    return TlsOutcome::kFailed;
  }
  OPENSSL_cleanse(key_.data(), key_.size());
  key_.clear();
  complete_ = true;
  return outcome;
}

void TlsSession::Rest() { SSL_free_buffers(ssl_); }

TlsOutcome TlsSession::Read(void* into, size_t size, size_t* got) {
  ERR_clear_error();
  return Judge(SSL_read_ex(ssl_, into, size, got));
}

TlsOutcome TlsSession::Write(const void* bytes, size_t size) {
  ERR_clear_error();
  if (records_ >= kTlsRekeyRecords && SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) {
    records_ = 0;
  }
  size_t written = 0;
  const TlsOutcome outcome = Judge(SSL_write_ex(ssl_, bytes, size, &written));
  records_ += outcome == TlsOutcome::kDone ? 1 : 0;
  return outcome;
}

std::string TlsSession::Binding() {
  constexpr std::string_view kLabel = "EXPORTER-Channel-Binding";
  std::string binding(32, '\0');
  void* bytes = binding.data();
  ERR_clear_error();
  if (!complete_ || SSL_export_keying_material(ssl_, static_cast<unsigned char*>(bytes), binding.size(), kLabel.data(),
                                               kLabel.size(), nullptr, 0, 0) != 1) {
    ERR_clear_error();
    return {};
  }
  return binding;
}

void TlsSession::SayGoodbye() {
  ERR_clear_error();
  static_cast<void>(SSL_shutdown(ssl_));
  ERR_clear_error();
}

TlsOutcome TlsSession::Judge(int returned) {
  if (returned == 1) {
    return TlsOutcome::kDone;
  }
  switch (SSL_get_error(ssl_, returned)) {
    case SSL_ERROR_WANT_READ:
      return TlsOutcome::kWantsInput;
    case SSL_ERROR_ZERO_RETURN:
      return TlsOutcome::kEnded;
    default:
      failure_ = Explain(TakeTlsError());
      return TlsOutcome::kFailed;
  }
}

arrow::Status TlsSession::Explain(unsigned long error) {
  const int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return RefuseCertificate(SSL_get_verify_result(ssl_));
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      refused_certificate_ = true;
      return AuthenticationError(peer_ + " showed no certificate; this side lets in those with one that " +
                                 options_.ca_file + " signed: give the dialler its certificate file and key file");
    case SSL_R_BINDER_DOES_NOT_VERIFY:
      return TlsStranger(peer_);
    // How a listener without a certificate fails when there is no key either.
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_CERTIFICATE_SET:
      if (keyed_) {
        return TlsStranger(peer_);
      }
      break;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return ProtocolError(peer_ + " does not speak TLS (" + TlsReason(error) +
                           "); is it another program's port, or one without TLS?");
    case SSL_R_UNSUPPORTED_PROTOCOL:
      return ProtocolError(peer_ + " does not speak TLS 1.3, and this side nothing older; update its TLS library");
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_BAD_RECORD_TYPE:
      return ProtocolError("what " + peer_ + " sent was changed on the way, or is not TLS (" + TlsReason(error) +
                           "); check what is between the two machines");
    default:
      if (reason > kTlsAlertReason) {
        return ExplainAlert(reason - kTlsAlertReason);
      }
  }
  return ProtocolError(peer_ + " does not follow the TLS protocol: " + TlsReason(error) +
                       "; check that it is this job's port and speaks TLS 1.3");
}

arrow::Status TlsSession::RefuseCertificate(long verdict) {
  if (keyed_) {
    return TlsStranger(peer_);
  }
  refused_certificate_ = true;
  const bool dials = role_ == TlsRole::kDialler;
  return AuthenticationError("the certificate of " + (dials ? options_.server_name + " (" + peer_ + ")" : peer_) +
                             " does not verify: " + X509_verify_cert_error_string(verdict) + "; " +
                             CertificateAdvice(verdict, options_));
}

arrow::Status TlsSession::ExplainAlert(int alert) {
  const std::string text =
      alert == TLS13_AD_CERTIFICATE_REQUIRED ? "certificate required" : SSL_alert_desc_string_long(alert);
  switch (alert) {
    case SSL_AD_PROTOCOL_VERSION:
      return ProtocolError(peer_ + " does not speak TLS 1.3, and this side nothing older; update its TLS library");
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_ILLEGAL_PARAMETER:
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_UNKNOWN_PSK_IDENTITY:
      if (keyed_ && !complete_) {
        return TlsStranger(peer_);
      }
      if (alert != SSL_AD_DECRYPT_ERROR || complete_) {
        break;
      }
      [[fallthrough]];  // a signature that does not fit, such as that of an authority with the right name
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case TLS13_AD_CERTIFICATE_REQUIRED:
      return AuthenticationError(peer_ + " refused this side's certificate '" + options_.certificate_file + "' (" +
                                 text + "); check that it is valid, and that the other side's CA file signed it");
    default:
      break;
  }
  return ProtocolError(peer_ + " ended the TLS connection with the alert '" + text +
                       "'; check that both sides use the same kind of key, and the messages of the other side");
}

}  // namespace cylon
