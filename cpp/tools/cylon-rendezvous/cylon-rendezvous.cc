// cylon-rendezvous: a server at which the ranks of jobs find each other, and talk where they cannot reach each other.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <iostream>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/base/secret.h"
#include "cylon/bootstrap/rendezvous_server.h"
#include "issue.h"
#include "server_log.h"

namespace {

struct ServeArguments {
  std::string listen = "127.0.0.1:0";
  uint16_t probe_port = 0;
  std::string secret_file;
  std::string operator_key_file;
  size_t sessions = cylon::RendezvousLimits{}.sessions;
  std::string metrics_host = "127.0.0.1";
  int metrics_port = -1;  // none
  bool log_json = false;
};

arrow::Result<cylon::RendezvousConfig> ConfigOf(const ServeArguments& arguments) {
  ARROW_ASSIGN_OR_RAISE(cylon::Options options, cylon::OptionsFromEnvironment());
  cylon::RendezvousConfig config;
  std::string secret;
  if (!arguments.operator_key_file.empty()) {
    ARROW_ASSIGN_OR_RAISE(config.operator_key, cylon::ReadKeyFile(arguments.operator_key_file, "operator's key",
                                                                  cylon::tools::kOperatorKeyHint));
  } else {
    if (!arguments.secret_file.empty()) {
      options.secret.clear();
      options.secret_file = arguments.secret_file;
    }
    ARROW_ASSIGN_OR_RAISE(secret, cylon::ReadSecret(options));
  }
  config.security = cylon::SecurityOf(options, std::move(secret));
  config.sessions.sessions = arguments.sessions;
  if (arguments.metrics_port >= 0) {
    config.metrics = cylon::HostPort{arguments.metrics_host, static_cast<uint16_t>(arguments.metrics_port)};
  }
  return config;
}

/// Each process that comes has two connections or more.
void RaiseDescriptorLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &files));  // as many as the system allows
  }
}

arrow::Status Serve(const ServeArguments& arguments) {
  RaiseDescriptorLimit();
  ARROW_ASSIGN_OR_RAISE(auto config, ConfigOf(arguments));
  ARROW_ASSIGN_OR_RAISE(const cylon::HostPort address, cylon::HostPort::Parse(arguments.listen));
  cylon::AsioExecutor executor("rendezvous");
  // For people, what is wrong is enough; who collects lines wants to know who came, too.
  const auto log = std::make_shared<cylon::tools::ServerLog>(stderr, arguments.log_json, !arguments.log_json);
  config.log = [log, &executor](const cylon::ServerEvent& event) {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    log->Write(event, executor.Now(), std::chrono::duration<double>(since).count());
  };
  auto ended = arrow::Future<>::Make();
  // In place before the address is told: whoever reads it may end this program at once.
  asio::signal_set signals(executor.io(), SIGINT, SIGTERM);
  signals.async_wait([ended](const asio::error_code&, int) mutable { ended.MarkFinished(); });
  ARROW_ASSIGN_OR_RAISE(auto server,
                        cylon::RendezvousServer::Start(executor, address, arguments.probe_port, std::move(config)));
  std::cout << server->address().ToString() << "\nprobes at " << server->probe_address().ToString() << "\n";
  if (server->metrics_address().port != 0) {
    std::cout << "metrics at http://" << server->metrics_address().ToString() << "/metrics\n";
  }
  std::cout << std::flush;
  return executor.Wait(ended);
}

void AddServing(CLI::App* app, ServeArguments* arguments) {
  app->add_option("--listen", arguments->listen, "host:port to listen on; port 0 takes a free one")
      ->capture_default_str();
  app->add_option("--probe-port", arguments->probe_port,
                  "second port of the same host, by which a process learns what its gateway does; 0 takes a free one")
      ->capture_default_str();
  auto* secret = app->add_option("--secret-file", arguments->secret_file,
                                 "file with mode 0600 that holds the jobs' secret, 64 hexadecimal digits");
  app->add_option(
         "--operator-key-file", arguments->operator_key_file,
         "file with mode 0600 that holds 64 hexadecimal digits: lets in by tickets that are signed with it, and "
         "by no secret")
      ->excludes(secret);
  app->add_option("--sessions", arguments->sessions, "processes that may have a session at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app->add_option("--metrics-port", arguments->metrics_port,
                  "port at which Prometheus reads /metrics, as anybody may who reaches it; 0 takes a free one")
      ->check(CLI::Range(0, 65535));
  app->add_option("--metrics-host", arguments->metrics_host, "address of that port")->capture_default_str();
  app->add_flag("--log-json", arguments->log_json,
                "lines on stderr are JSON objects, and tell of who is let in as well");
}

CLI::App* AddIssuing(CLI::App* app, cylon::tools::IssueArguments* arguments) {
  auto* issue = app->add_subcommand(
      "ticket",
      "Issues a ticket, which lets in the processes of one job at a server with the same operator's key. It is "
      "a secret: they have it in CYLON_TICKET, or CYLON_TICKET_FILE names a file with mode 0600.");
  issue->add_option("--operator-key-file", arguments->operator_key_file, "the server's")->required();
  issue->add_option("--job", arguments->job, "the job's name (CYLON_JOB)")->required();
  issue->add_option("--ranks", arguments->ranks, "processes of the job that may be there at once")->required();
  issue->add_option("--hours", arguments->hours, "how long it lets in")->required();
  issue->add_option("--relay-bytes", arguments->relay_bytes, "what the server relays under it; 0: nothing")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  issue->add_option("--relay-rate", arguments->relay_rate, "of that, in a second")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  issue->add_option("--out", arguments->out, "a file that is made with mode 0600, instead of standard output");
  return issue;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Serves the store in which the ranks of jobs find each other, and passes on what processes say that cannot reach "
      "each other yet. Lets in who knows the jobs' secret (--secret-file, CYLON_SECRET or CYLON_SECRET_FILE), or who "
      "has "
      "a ticket (--operator-key-file). The first line of output is the address, the second the one for probes, the "
      "third "
      "that of the metrics, if there are any. Ends on SIGINT or SIGTERM."};
  ServeArguments serving;
  cylon::tools::IssueArguments issuing;
  AddServing(&app, &serving);
  const CLI::App* issue = AddIssuing(&app, &issuing);
  CLI11_PARSE(app, argc, argv);
  const arrow::Status status = issue->parsed() ? cylon::tools::Issue(issuing) : Serve(serving);
  if (!status.ok()) {
    std::cerr << "cylon-rendezvous: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
