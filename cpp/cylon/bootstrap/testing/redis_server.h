/// For tests: a Redis server of their own, gone with its object or with the test.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cylon/base/random.h"
#include "cylon/wire/resp.h"
#include "cylon/wire/stream.h"

namespace cylon::testing {

/// Writes a certificate for 127.0.0.1 that signs itself, and its key, as PEM files.
inline void WriteRedisCertificate(const std::string& certificate_file, const std::string& key_file) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 3600);
  X509_set_pubkey(certificate, key);
  constexpr std::array<unsigned char, 6> kName = {'r', 'e', 'd', 'i', 's', '\0'};
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, kName.data(), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  for (const auto& [kind, value] :
       {std::pair(NID_basic_constraints, "critical,CA:TRUE"), std::pair(NID_subject_alt_name, "IP:127.0.0.1")}) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(certificate, key, EVP_sha256());
  std::FILE* file = std::fopen(certificate_file.c_str(), "wbe");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  file = std::fopen(key_file.c_str(), "wbe");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

/// A child process on a free port of 127.0.0.1, in a directory of its own, keeping nothing on disk. What goes wrong is
/// thrown: a test fails by it.
class RedisServer {
 public:
  /// What a test says that is skipped for want of a server.
  static constexpr char kMissing[] = "no redis-server on PATH; install it (Debian: redis-tools) to run this test";
  static bool IsInstalled() { return !FindProgram().empty(); }

  /// `config` are lines of its configuration file. With `tls`, it speaks nothing else.
  explicit RedisServer(std::vector<std::string> config = {}, bool tls = false)
      : config_(std::move(config)),
        tls_(tls),
        directory_(std::filesystem::temp_directory_path() / ("cylon-redis-" + HexEncode(RandomBytes(8).ValueOrDie()))),
        folder_{directory_} {
    if (tls_) {
      WriteRedisCertificate(certificate_file(), directory_ + "/key.pem");
    }
    // A free port may be taken between being found and being bound.
    for (int attempt = 0; attempt < 20; ++attempt) {
      port_ = FreePort();
      if (Start()) {
        return;
      }
    }
    throw std::runtime_error("redis-server found no free port");
  }
  ~RedisServer() { Stop(); }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  HostPort address() const { return {"127.0.0.1", port_}; }
  std::string url(const std::string& login = "") const {
    return (tls_ ? "rediss://" : "redis://") + login + address().ToString();
  }
  /// What to check a TLS server's certificate with.
  std::string certificate_file() const { return directory_ + "/certificate.pem"; }

  /// Kills it.
  void Stop() {
    if (keeper_.joinable()) {
      stop_.set_value();
      keeper_.join();
    }
  }
  /// Kills it where it runs, and starts it anew on the same port, empty, with `config` where it is given.
  void Restart(std::optional<std::vector<std::string>> config = std::nullopt) {
    Stop();
    if (config) {
      config_ = *std::move(config);
    }
    const auto deadline = std::chrono::steady_clock::now() + kPatienceWithServer;
    while (!Start()) {
      if (std::chrono::steady_clock::now() > deadline) {
        throw std::runtime_error("another program has taken the port of redis-server");
      }
      std::this_thread::sleep_for(kLook);
    }
  }

  /// The reply to one command, over a connection of its own.
  RespValue Run(const std::vector<std::string>& words) const {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to = Loopback(port_);
    const void* generic = &to;
    RespValue reply;
    bool whole = false;
    if (::connect(descriptor, static_cast<const sockaddr*>(generic), sizeof(to)) == 0) {
      const std::string bytes = EncodeRespCommand(words);
      for (size_t at = 0; at < bytes.size();) {
        const ssize_t sent = ::send(descriptor, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
        if (sent <= 0) {
          break;
        }
        at += static_cast<size_t>(sent);
      }
      RespDecoder decoder;
      std::array<char, 4096> buffer;
      for (ssize_t got = 0; !whole && (got = ::recv(descriptor, buffer.data(), buffer.size(), 0)) > 0;) {
        std::string_view rest(buffer.data(), static_cast<size_t>(got));
        if (auto maybe = decoder.Next(&rest).ValueOrDie()) {
          reply = *std::move(maybe);
          whole = true;
        }
      }
    }
    ::close(descriptor);
    if (!whole) {
      throw std::runtime_error("redis-server did not answer " + words.front());
    }
    return reply;
  }

 private:
  /// Gone too where the constructor throws.
  struct Folder {
    explicit Folder(const std::string& at) : path(at) { std::filesystem::create_directories(path); }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path;
  };

  static constexpr auto kPatienceWithServer = std::chrono::seconds(60);
  static constexpr auto kLook = std::chrono::milliseconds(5);
  /// A server of a cluster has a second port that is 10000 higher.
  static constexpr uint16_t kHighestPort = 55535;

  static std::string FindProgram() {
    const char* path = std::getenv("PATH");
    // The package of tools has the same program under its other name, and starts no service.
    for (const std::string name : {"redis-server", "redis-check-rdb"}) {
      std::stringstream folders(path == nullptr ? "" : path);
      for (std::string folder; std::getline(folders, folder, ':');) {
        const std::string file = folder + "/" + name;
        if (::access(file.c_str(), X_OK) == 0) {
          return file;
        }
      }
    }
    return "";
  }

  static sockaddr_in Loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }

  static uint16_t FreePort() {
    uint16_t port = 0;
    do {
      const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address = Loopback(0);
      void* generic = &address;
      socklen_t size = sizeof(address);
      if (::bind(descriptor, static_cast<sockaddr*>(generic), size) != 0 ||
          ::getsockname(descriptor, static_cast<sockaddr*>(generic), &size) != 0) {
        throw std::runtime_error("no free port on 127.0.0.1");
      }
      ::close(descriptor);
      port = ntohs(address.sin_port);
    } while (port > kHighestPort);
    return port;
  }

  std::string Log() const {
    std::ifstream file(directory_ + "/log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  void WriteConfig() const {
    std::ofstream file(directory_ + "/redis.conf");
    file << "bind 127.0.0.1\nsave \"\"\nappendonly no\ndaemonize no\ndir " << directory_ << "\nlogfile " << directory_
         << "/log\n";
    if (tls_) {
      file << "port 0\ntls-port " << port_ << "\ntls-cert-file " << certificate_file() << "\ntls-key-file "
           << directory_ << "/key.pem\ntls-auth-clients no\n";
    } else {
      file << "port " << port_ << "\n";
    }
    for (const auto& line : config_) {
      file << line << "\n";
    }
  }

  /// False where another has the port.
  bool Start() {
    std::filesystem::remove(directory_ + "/log");
    WriteConfig();
    stop_ = std::promise<void>();
    std::promise<pid_t> started;
    // The system kills the child when the thread that forked it ends, so it gets a thread that lasts as long.
    keeper_ = std::thread(
        [&started, stop = stop_.get_future(), program = FindProgram(), config = directory_ + "/redis.conf"] {
          const std::array<const char*, 3> words = {"redis-server", config.c_str(), nullptr};
          const pid_t parent = ::getpid();
          const pid_t child = ::_Fork();  // no handlers: jemalloc's takes more locks than tsan can follow
          if (child == 0) {
            // Only what is safe after a fork of one thread of many.
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent) {
              ::_exit(127);
            }
            const int nowhere = ::open("/dev/null", O_RDWR);
            ::dup2(nowhere, 0);
            ::dup2(nowhere, 1);
            ::dup2(nowhere, 2);
            ::execv(program.c_str(), const_cast<char* const*>(words.data()));
            ::_exit(127);
          }
          started.set_value(child);
          stop.wait();
          if (child > 0) {
            ::kill(child, SIGKILL);
            ::waitpid(child, nullptr, 0);
          }
        });
    const pid_t child = started.get_future().get();
    const auto deadline = std::chrono::steady_clock::now() + kPatienceWithServer;
    while (child > 0 && std::chrono::steady_clock::now() < deadline) {
      // Looked at, not collected: its number stays its own until the keeper does that.
      siginfo_t ended{};
      ::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT);
      const std::string log = Log();
      if (ended.si_pid == 0 && log.find("Ready to accept connections") != std::string::npos) {
        return true;
      }
      if (ended.si_pid != 0 && log.find("already in use") != std::string::npos) {
        Stop();
        return false;
      }
      if (ended.si_pid != 0) {
        break;
      }
      std::this_thread::sleep_for(kLook);
    }
    Stop();
    throw std::runtime_error("redis-server did not start: " + Log());
  }

  std::vector<std::string> config_;
  bool tls_;
  std::string directory_;
  Folder folder_;
  uint16_t port_ = 0;
  std::promise<void> stop_;
  std::thread keeper_;
};

}  // namespace cylon::testing
