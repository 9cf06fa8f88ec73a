// One attempt at a server: TCP, then the handshake.
#include "cylon/bootstrap/dial_server.h"

#include <utility>

namespace cylon {

Co<std::unique_ptr<Stream>> DialServer(AsioExecutor* executor, HostPort address, Security security, Identity self,
                                       arrow::Future<> stop, Duration keep_alive, TimePoint deadline) {
  auto dialling = ConnectTcp(executor->io(), *executor, address, deadline, stop, keep_alive);
  CYLON_CO_ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, co_await dialling);
  const auto opening = std::make_shared<Opening>();
  stop.AddCallback([weak = std::weak_ptr<Opening>(opening)](const arrow::Status&) {
    if (const auto under_way = weak.lock()) {
      under_way->Close();
    }
  });
  auto proving = OpenAsDialler(std::move(stream), *executor, std::move(security), std::move(self), address.host,
                               deadline, opening);
  auto opened = co_await proving;
  CYLON_CO_RETURN_NOT_OK(opened.status());
  co_return std::move(opened->stream);
}

}  // namespace cylon
