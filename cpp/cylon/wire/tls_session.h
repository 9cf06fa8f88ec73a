/// One end of a TLS 1.3 connection without its wire: OpenSSL's object as TlsOptions say, and its errors in words.
#pragma once

#include <arrow/result.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "cylon/wire/tls_stream.h"

namespace cylon {

/// Which end of a connection speaks first.
enum class TlsRole : uint8_t { kDialler, kListener };

/// What a call on a session came to.
enum class TlsOutcome : uint8_t { kDone, kWantsInput, kEnded, kFailed };

/// Owns OpenSSL's object. The errors of OpenSSL's queue are never mixed up with others', which the thread's other users
/// of OpenSSL may have left there: it is cleared before each call, and drained after each failure.
class TlsSession {
 public:
  /// IOError or Invalid names the file or the option that is wrong. `peer` is for messages.
  static arrow::Result<std::unique_ptr<TlsSession>> Make(TlsRole role, TlsOptions options, std::string peer);
  /// Without OpenSSL's object yet: use Make.
  TlsSession(TlsRole role, TlsOptions options, std::string peer);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  /// What it reads from and writes to; owned by the session from now on.
  void SetWire(BIO* wire);

  /// Goes on with the handshake. kDone: it is complete, and the other end has proven itself.
  TlsOutcome Handshake();
  /// Decrypts up to `size` bytes; kEnded: the other end has said that no more will come.
  TlsOutcome Read(void* into, size_t size, size_t* got);
  /// Encrypts `size` bytes, at most kTlsRecord, as one record. New keys come where the old ones have done their duty.
  TlsOutcome Write(const void* bytes, size_t size);
  /// Lets go of what OpenSSL keeps for records, 33 KiB, until the next one; nothing where part of one is there.
  void Rest();
  /// Says that nothing more will come from here.
  void SayGoodbye();

  /// 32 bytes that only the two ends of this connection share (RFC 9266); "" before the handshake is complete.
  std::string Binding();

  /// Why the last call was kFailed.
  const arrow::Status& failure() const { return failure_; }
  /// True where the failed call refused the other's certificate.
  bool refused_certificate() const { return refused_certificate_; }

 private:
  static arrow::Result<SSL_CTX*> KeyedContext(TlsRole role);
  arrow::Status UseCertificates(SSL_CTX* context);
  arrow::Status ExpectServerName();
  arrow::Status MakeKey();
  TlsOutcome Judge(int returned);
  arrow::Status Explain(unsigned long error);
  arrow::Status RefuseCertificate(long verdict);
  arrow::Status ExplainAlert(int alert);
  SSL_SESSION* KeyAsSession();
  static int OfferKey(SSL* ssl, const EVP_MD* hash, const unsigned char** name, size_t* size, SSL_SESSION** session);
  static int FindKey(SSL* ssl, const unsigned char* name, size_t size, SSL_SESSION** session);

  const TlsRole role_;
  TlsOptions options_;
  const std::string peer_;
  const bool keyed_;  // by a secret, not by certificates
  std::string key_;   // derived from the secret; empty after the handshake
  SSL* ssl_ = nullptr;
  bool complete_ = false;
  bool refused_certificate_ = false;
  int64_t records_ = 0;  // written with the present key
  arrow::Status failure_;
};

/// The most that one record carries.
inline constexpr size_t kTlsRecord = 16 << 10;

}  // namespace cylon
