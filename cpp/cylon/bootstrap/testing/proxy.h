/// For tests: what stands between a client and a server, and loses connections when it is told to.
#pragma once

#include <asio/ip/tcp.hpp>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/wire/socket_stream.h"
#include "cylon/wire/stream.h"

namespace cylon::testing {

/// Forwards any number of connections to `server`, in tasks of an executor of its own.
class Proxy {
 public:
  explicit Proxy(HostPort server) : server_(std::move(server)) {
    Do([this] {
      listener_ = ListenTcp(executor_.io(), {"127.0.0.1", 0}, [this](std::unique_ptr<Stream> stream) {
                    ++accepted_;
                    internal::DriveVoid(Serve(this, std::move(stream)), arrow::Future<>::Make());
                  }).ValueOrDie();
      address_ = listener_->address();
    });
  }
  ~Proxy() { Close(); }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  HostPort address() const { return address_; }
  /// Connections that were accepted so far.
  int accepted() {
    int count = 0;
    Do([&] { count = accepted_; });
    return count;
  }
  /// Loses all connections.
  void Cut() {
    Do([this] { CloseAll(); });
  }
  /// Resets all connections to the server, as a gateway does that has forgotten them, and takes no others.
  void Reset() {
    Do([this] {
      listener_.reset();
      for (const auto& pair : pairs_) {
        dynamic_cast<internal::SocketStream<asio::ip::tcp::socket>&>(*pair->server)
            .socket()
            .set_option(asio::socket_base::linger(true, 0));
      }
      CloseAll();
    });
  }
  /// Loses all connections, and takes no others.
  void Close() {
    Do([this] {
      listener_.reset();
      CloseAll();
    });
  }
  /// From now on what the server says goes nowhere, on the connections that there are and on later ones; or it does
  /// again. `swallowed` finishes when the next such bytes have come.
  arrow::Future<> Swallow(bool swallow) {
    auto swallowed = arrow::Future<>::Make();
    Do([&] {
      swallow_ = swallow;
      swallowed_ = swallowed;
    });
    return swallowed;
  }
  /// The next bytes of the server in which `text` is go nowhere; finishes then.
  arrow::Future<> Lose(std::string text) {
    auto lost = arrow::Future<>::Make();
    Do([&] {
      lose_ = std::move(text);
      lost_ = lost;
    });
    return lost;
  }

 private:
  struct Pair {
    std::unique_ptr<Stream> client;
    std::unique_ptr<Stream> server;
  };

  void Do(const std::function<void()>& work) {
    static_cast<void>(executor_.RunTask([&work] {
      work();
      return arrow::Status::OK();
    }));
  }
  void CloseAll() {
    for (const auto& pair : std::set<std::shared_ptr<Pair>>(pairs_)) {
      pair->client->Close();
      pair->server->Close();
    }
  }

  static Co<void> Serve(Proxy* self, std::unique_ptr<Stream> client) {
    auto dialling = ConnectTcp(self->executor_.io(), self->executor_, self->server_, kNever);
    auto server = co_await dialling;
    if (!server.ok()) {
      co_return server.status();  // the client's connection closes as it goes
    }
    auto pair = std::make_shared<Pair>(Pair{std::move(client), *std::move(server)});
    self->pairs_.insert(pair);
    internal::DriveVoid(Pump(self, pair, /*answers=*/true), arrow::Future<>::Make());
    auto pumping = Pump(self, pair, /*answers=*/false);
    co_return co_await pumping;
  }

  static Co<void> Pump(Proxy* self, std::shared_ptr<Pair> pair, bool answers) {
    auto& from = answers ? pair->server : pair->client;
    auto& to = answers ? pair->client : pair->server;
    std::string buffer(1 << 16, '\0');
    while (true) {
      auto reading = from->ReadSome({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()});
      const auto got = co_await reading;
      if (!got.ok() || *got == 0) {
        break;
      }
      if (answers && self->swallow_) {
        if (!self->swallowed_.is_finished()) {
          self->swallowed_.MarkFinished();
        }
        continue;
      }
      if (answers && !self->lose_.empty() &&
          std::string_view(buffer).substr(0, static_cast<size_t>(*got)).find(self->lose_) != std::string_view::npos) {
        self->lose_.clear();
        self->lost_.MarkFinished();
        continue;
      }
      std::vector<std::span<const uint8_t>> parts;
      parts.emplace_back(reinterpret_cast<const uint8_t*>(buffer.data()), static_cast<size_t>(*got));
      auto writing = to->Write(std::move(parts));
      const arrow::Status status = co_await writing;
      if (!status.ok()) {
        break;
      }
    }
    pair->client->Close();
    pair->server->Close();
    self->pairs_.erase(pair);
    co_return arrow::Status::OK();
  }

  HostPort server_;
  AsioExecutor executor_{"proxy"};
  std::unique_ptr<Listener> listener_;
  HostPort address_;
  std::set<std::shared_ptr<Pair>> pairs_;
  int accepted_ = 0;
  bool swallow_ = false;
  arrow::Future<> swallowed_ = arrow::Future<>::MakeFinished();
  std::string lose_;
  arrow::Future<> lost_;
};

}  // namespace cylon::testing
