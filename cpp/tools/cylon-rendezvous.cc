// cylon-rendezvous: a store server in which the ranks of jobs find each other.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <iostream>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/bootstrap/store_server.h"

namespace {

arrow::Status Run(const std::string& listen, const std::string& secret_file) {
  ARROW_ASSIGN_OR_RAISE(cylon::Options options, cylon::OptionsFromEnvironment());
  if (!secret_file.empty()) {
    options.secret.clear();
    options.secret_file = secret_file;
  }
  cylon::Security security;
  ARROW_ASSIGN_OR_RAISE(security.secret, cylon::ReadSecret(options));
  security.plain_text = options.plain_text;
  ARROW_ASSIGN_OR_RAISE(const cylon::HostPort address, cylon::HostPort::Parse(listen));
  cylon::AsioExecutor executor("rendezvous");
  auto ended = arrow::Future<>::Make();
  // In place before the address is told: whoever reads it may end this program at once.
  asio::signal_set signals(executor.io(), SIGINT, SIGTERM);
  signals.async_wait([ended](const asio::error_code&, int) mutable { ended.MarkFinished(); });
  ARROW_ASSIGN_OR_RAISE(auto server, cylon::StoreServer::Start(executor, address, std::move(security)));
  std::cout << server->address().ToString() << "\n" << std::flush;
  return executor.Wait(ended);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Serves the store in which the ranks of jobs find each other. The secret comes from --secret-file, CYLON_SECRET "
      "or CYLON_SECRET_FILE. The first line of output is the address. Ends on SIGINT or SIGTERM."};
  std::string listen = "127.0.0.1:0";
  std::string secret_file;
  app.add_option("--listen", listen, "host:port to listen on; port 0 takes a free one")->capture_default_str();
  app.add_option("--secret-file", secret_file, "file with mode 0600 that holds 64 hexadecimal digits");
  CLI11_PARSE(app, argc, argv);
  const arrow::Status status = Run(listen, secret_file);
  if (!status.ok()) {
    std::cerr << "cylon-rendezvous: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
