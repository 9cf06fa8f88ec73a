/// TLS 1.3 over another stream, keyed by the job's secret or by certificates.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/co.h"
#include "cylon/base/export.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// What keys a TLS connection: a secret that both ends know, or certificates. Files are PEM, and read anew for every
/// connection, so that a renewed certificate needs no restart.
struct CYLON_EXPORT TlsOptions {
  /// External pre-shared key, 32 random bytes, with an ephemeral (EC)DHE exchange; the rest is not used then.
  std::string secret;
  /// Those who are trusted to sign the other's certificate; "": the system's. A listener that has one lets nobody in
  /// without a certificate; one that has none asks for none.
  std::string ca_file;
  std::string certificate_file;  ///< own certificate chain; a listener needs it, a dialler may have one
  std::string key_file;          ///< and its key, not encrypted
  std::string server_name;       ///< dialler: the host that the certificate has to be for (DNS name or IP address)
};

/// The dialling end of a TLS connection over `below`, which it owns from now on, whatever the outcome. Reads, writes
/// and what they promise are those of any Stream; a close_notify and a plain end of `below` are both an end of stream.
///
/// AuthenticationError: the other end does not know the secret, or its certificate does not verify. ProtocolError: it
/// does not speak TLS 1.3, or what it sent was changed on the way. DeadlineError at `deadline`, and after 5 s at the
/// latest; before the handshake is complete at most 64 KiB are read. IOError and Invalid name a file that is
/// unreadable or not what it should be. After any of these `below` is closed.
CYLON_EXPORT Co<std::unique_ptr<Stream>> TlsAsDialler(std::unique_ptr<Stream> below, Executor& executor,
                                                      TlsOptions options, TimePoint deadline);

/// The listening end; the same promises. A dialler may learn only from its first read that its own certificate was
/// refused: TLS 1.3 is complete for it before the listener has seen the certificate.
CYLON_EXPORT Co<std::unique_ptr<Stream>> TlsAsListener(std::unique_ptr<Stream> below, Executor& executor,
                                                       TlsOptions options, TimePoint deadline);

}  // namespace cylon
