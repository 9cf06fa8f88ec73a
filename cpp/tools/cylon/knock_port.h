/// A port at which strangers are awaited, to see whether any get through.
#pragma once

#include <arrow/result.h>

#include <asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "gateway.h"

namespace cylon::tools {

/// Words that only the two know: whoever dials says one, and gets the other.
struct KnockWords {
  static constexpr size_t kBytes = 16;
  static arrow::Result<KnockWords> Draw();
  std::string knock;
  std::string answer;
};

/// Listens on one port of IPv4 and, where this host has it, of IPv6. Others may use the port to dial (SO_REUSEADDR and
/// SO_REUSEPORT). All calls in tasks.
class KnockPort : public std::enable_shared_from_this<KnockPort> {
 public:
  static arrow::Result<std::shared_ptr<KnockPort>> Open(AsioExecutor& executor, KnockWords words);
  explicit KnockPort(KnockWords words) : words_(std::move(words)) {}
  uint16_t number() const { return number_; }
  const KnockWords& words() const { return words_; }
  void Close();

 private:
  arrow::Status Listen(AsioExecutor& executor, const asio::ip::tcp::endpoint& at);
  void Accept(asio::ip::tcp::acceptor* acceptor);

  const KnockWords words_;
  uint16_t number_ = 0;
  std::vector<std::unique_ptr<asio::ip::tcp::acceptor>> acceptors_;
};

/// What becomes of a dial to somebody's KnockPort. kNobodyDialled where there is no way there from here.
Co<Stranger> KnockAt(AsioExecutor* executor, HostPort address, KnockWords words, TimePoint deadline);

}  // namespace cylon::tools
