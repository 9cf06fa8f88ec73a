// cylon-rendezvous: a server at which the ranks of jobs find each other, and talk where they cannot reach each other.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <iostream>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/bootstrap/rendezvous_server.h"

namespace {

arrow::Status Run(const std::string& listen, uint16_t probe_port, const std::string& secret_file) {
  ARROW_ASSIGN_OR_RAISE(cylon::Options options, cylon::OptionsFromEnvironment());
  if (!secret_file.empty()) {
    options.secret.clear();
    options.secret_file = secret_file;
  }
  ARROW_ASSIGN_OR_RAISE(auto secret, cylon::ReadSecret(options));
  auto security = cylon::SecurityOf(options, std::move(secret));
  ARROW_ASSIGN_OR_RAISE(const cylon::HostPort address, cylon::HostPort::Parse(listen));
  cylon::AsioExecutor executor("rendezvous");
  auto ended = arrow::Future<>::Make();
  // In place before the address is told: whoever reads it may end this program at once.
  asio::signal_set signals(executor.io(), SIGINT, SIGTERM);
  signals.async_wait([ended](const asio::error_code&, int) mutable { ended.MarkFinished(); });
  ARROW_ASSIGN_OR_RAISE(auto server,
                        cylon::RendezvousServer::Start(executor, address, probe_port, std::move(security)));
  std::cout << server->address().ToString() << "\nprobes at " << server->probe_address().ToString() << "\n"
            << std::flush;
  return executor.Wait(ended);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Serves the store in which the ranks of jobs find each other, and passes on what processes say that cannot reach "
      "each other yet. The secret comes from --secret-file, CYLON_SECRET or CYLON_SECRET_FILE. The first line of "
      "output "
      "is the address, the second the one for probes. Ends on SIGINT or SIGTERM."};
  std::string listen = "127.0.0.1:0";
  std::string secret_file;
  app.add_option("--listen", listen, "host:port to listen on; port 0 takes a free one")->capture_default_str();
  uint16_t probe_port = 0;
  app.add_option("--probe-port", probe_port,
                 "second port of the same host, by which a process learns what its gateway does; 0 takes a free one")
      ->capture_default_str();
  app.add_option("--secret-file", secret_file, "file with mode 0600 that holds 64 hexadecimal digits");
  CLI11_PARSE(app, argc, argv);
  const arrow::Status status = Run(listen, probe_port, secret_file);
  if (!status.ok()) {
    std::cerr << "cylon-rendezvous: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
