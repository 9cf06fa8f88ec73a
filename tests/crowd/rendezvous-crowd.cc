// rendezvous-crowd: many processes at a rendezvous server, as far as the server can see.
//   rendezvous-crowd host:port number    with the job's secret in the environment; prints a line when all of them have
//   a
//                                        session, and holds these until it is killed
#include <charconv>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/bootstrap/tcp_courier.h"

namespace {

/// Fewer than a server lets knock at once, so that none is sent away.
constexpr size_t kAtOnce = 32;
constexpr auto kPatience = std::chrono::seconds(60);

arrow::Status Fill(const cylon::HostPort& address, size_t number) {
  ARROW_ASSIGN_OR_RAISE(const cylon::Options options, cylon::OptionsFromEnvironment());
  ARROW_ASSIGN_OR_RAISE(auto secret, cylon::ReadSecret(options));
  const auto security = cylon::SecurityOf(options, std::move(secret));
  cylon::AsioExecutor executor("crowd");
  std::vector<std::unique_ptr<cylon::Courier>> couriers;
  while (couriers.size() < number) {
    std::vector<arrow::Future<std::unique_ptr<cylon::Courier>>> opening;
    while (opening.size() < kAtOnce && couriers.size() + opening.size() < number) {
      opening.push_back(Spawn(
          executor, cylon::OpenTcpCourier(&executor, address, security, options.job, executor.Now() + kPatience)));
    }
    for (auto& each : opening) {
      ARROW_RETURN_NOT_OK(executor.Wait(arrow::Future<>(each)));
      ARROW_ASSIGN_OR_RAISE(auto courier, each.MoveResult());
      couriers.push_back(std::move(courier));
    }
  }
  std::cout << "open " << couriers.size() << "\n" << std::flush;
  return executor.Wait(arrow::Future<>::Make());
}

arrow::Status Run(const std::vector<std::string>& arguments) {
  size_t number = 0;
  if (arguments.size() == 2) {
    std::from_chars(arguments[1].data(), arguments[1].data() + arguments[1].size(), number);
  }
  if (number == 0) {
    return arrow::Status::Invalid("usage: rendezvous-crowd host:port number");
  }
  ARROW_ASSIGN_OR_RAISE(const auto address, cylon::HostPort::Parse(arguments[0]));
  return Fill(address, number);
}

}  // namespace

int main(int argc, char** argv) {
  const arrow::Status status = Run({argv + 1, argv + argc});
  if (!status.ok()) {
    std::cerr << "rendezvous-crowd: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
