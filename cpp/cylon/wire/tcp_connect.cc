// Connecting over TCP to a host that has several addresses, or whose answer is late.
#include <algorithm>
#include <asio/ip/tcp.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/failpoint.h"
#include "cylon/wire/stream.h"
#include "cylon/wire/tcp_stream.h"

namespace cylon {

namespace {

using asio::ip::tcp;

/// After so long without an answer the next address is dialled as well (RFC 8305 recommends 250 ms), and after the last
/// one each of them once more: TCP sends a first packet that was lost again after a second only.
constexpr Duration kBetweenDials = std::chrono::milliseconds(300);

/// The resolver's order, which has the better ones first, but of both families in turn: where one of them leads
/// nowhere, it is not waited for address by address.
std::vector<tcp::endpoint> FamiliesInTurn(std::vector<tcp::endpoint> found) {
  const auto of_other_family = [&](const tcp::endpoint& each) { return each.protocol() != found.front().protocol(); };
  std::vector<tcp::endpoint> others;
  std::copy_if(found.begin(), found.end(), std::back_inserter(others), of_other_family);
  std::erase_if(found, of_other_family);
  for (size_t i = 0; i < others.size(); ++i) {
    found.insert(found.begin() + static_cast<ptrdiff_t>(std::min(2 * i + 1, found.size())), others[i]);
  }
  return found;
}

/// The dials of one connection, of which the first that is answered wins (RFC 8305).
class TcpDials : public std::enable_shared_from_this<TcpDials> {
 public:
  TcpDials(asio::io_context& io, Executor& executor, HostPort to)
      : io_(io), executor_(executor), to_(std::move(to)), resolver_(io) {}

  /// Finished where it is connected, or is not going to be. Once.
  arrow::Future<> Start() {
    if (done_.is_finished()) {
      return done_;  // given up before it began
    }
    asio::error_code not_literal;
    const auto literal = asio::ip::make_address(to_.host, not_literal);
    if (!not_literal) {
      Dial({{literal, to_.port}});
      return done_;
    }
    resolver_.async_resolve(
        to_.host, std::to_string(to_.port),
        [self = shared_from_this()](const asio::error_code& error, const auto& results) {
          std::vector<tcp::endpoint> found;
          for (const auto& entry : results) {
            found.push_back(entry.endpoint());
          }
          if (error || found.empty()) {
            self->End(arrow::Status::IOError("cannot resolve the host of ", self->to_.ToString(), ": ",
                                             error ? error.message() : "it has no address", "; check its name"));
          } else if (!self->done_.is_finished()) {
            self->Dial(FamiliesInTurn(std::move(found)));
          }
        });
    return done_;
  }

  /// Gives up, unless it is over.
  void End(const arrow::Status& status) {
    if (done_.is_finished()) {
      return;
    }
    resolver_.cancel();
    if (next_ != nullptr) {
      next_->Cancel();
    }
    for (const auto& socket : sockets_) {
      asio::error_code ignored;
      if (socket != connected_) {
        socket->close(ignored);
      }
    }
    done_.MarkFinished(status);
  }

  arrow::Status Late() const {
    return DeadlineError("cannot connect to " + to_.ToString() +
                         ": no answer before the deadline; check the address, and that nothing blocks the way there");
  }

  /// Where it has ended well.
  std::unique_ptr<Stream> Take(Duration keep_alive) {
    return internal::MakeTcpStream(std::move(*connected_), remote_, keep_alive);
  }

 private:
  struct Address {
    tcp::endpoint at;
    int dials = 0;
    bool failed = false;
  };

  void Dial(std::vector<tcp::endpoint> found) {
    for (auto& each : found) {
      addresses_.push_back({std::move(each)});
    }
    DialNext();
  }

  /// The next address that is worth a dial. On loopback nothing gets lost.
  Address* Next() {
    for (int dials = 0; dials < 2; ++dials) {
      for (auto& each : addresses_) {
        if (!each.failed && each.dials == dials && (dials == 0 || !each.at.address().is_loopback())) {
          return &each;
        }
      }
    }
    return nullptr;
  }

  void DialNext() {
    Address* next = Next();
    if (next == nullptr) {
      return;
    }
    ++next->dials;
    const auto socket = sockets_.emplace_back(std::make_shared<tcp::socket>(io_));
    socket->async_connect(next->at, [self = shared_from_this(), next, socket](const asio::error_code& error) {
      self->Answered(next, socket, error);
    });
    next_ = executor_.PostAt(executor_.Now() + kBetweenDials, [weak = weak_from_this()] {
      if (auto self = weak.lock(); self != nullptr && !self->done_.is_finished()) {
        self->DialNext();
      }
    });
  }

  void Answered(Address* address, const std::shared_ptr<tcp::socket>& socket, asio::error_code error) {
    if (done_.is_finished()) {
      return;
    }
    // Dialling a free port of the range that the system draws from can meet itself.
    asio::error_code ignored;
    if (!error && socket->local_endpoint(ignored) == address->at) {
      error = asio::error::connection_refused;
    }
    if (!error) {
      connected_ = socket;
      remote_ = address->at;
      return End(arrow::Status::OK());
    }
    socket->close(ignored);
    std::erase(sockets_, socket);
    address->failed = true;
    nobody_ = nobody_ && error == asio::error::connection_refused;
    next_->Cancel();
    DialNext();
    if (sockets_.empty()) {
      const std::string text =
          "cannot connect to " + to_.ToString() + ": " + error.message() + "; check that its listener runs";
      End(nobody_ ? NobodyListens(text) : arrow::Status::IOError(text));
    }
  }

  asio::io_context& io_;
  Executor& executor_;
  const HostPort to_;
  tcp::resolver resolver_;
  arrow::Future<> done_ = arrow::Future<>::Make();
  std::vector<Address> addresses_;  // as many as there are from the first dial on
  std::vector<std::shared_ptr<tcp::socket>> sockets_;
  std::shared_ptr<Timer> next_;
  bool nobody_ = true;  // listened at any of those that have failed
  std::shared_ptr<tcp::socket> connected_;
  tcp::endpoint remote_;
};

}  // namespace

Co<std::unique_ptr<Stream>> ConnectTcp(asio::io_context& io, Executor& executor, HostPort address, TimePoint deadline,
                                       arrow::Future<> stop, Duration keep_alive) {
  CYLON_CO_RETURN_NOT_OK(CYLON_FAILPOINT_STATUS("net.dial"));
  const auto dials = std::make_shared<TcpDials>(io, executor, std::move(address));
  if (stop.is_valid()) {
    stop.AddCallback([weak = std::weak_ptr<TcpDials>(dials)](const arrow::Status&) {
      if (auto abandoned = weak.lock()) {
        abandoned->End(arrow::Status::Cancelled("this side has given up the connection"));
      }
    });
  }
  std::shared_ptr<Timer> timer;
  if (deadline != kNever) {
    timer = executor.PostAt(deadline, [weak = std::weak_ptr<TcpDials>(dials)] {
      if (auto late = weak.lock()) {
        late->End(late->Late());
      }
    });
  }
  auto connecting = dials->Start();
  const arrow::Status status = co_await connecting;
  if (timer) {
    timer->Cancel();
  }
  CYLON_CO_RETURN_NOT_OK(status);
  co_return dials->Take(keep_alive);
}

}  // namespace cylon
