// lab-wire: a wire between two network interfaces that delays what passes and loses first packets of connections.
//   lab-wire here there --delay-ms 10 --syn-loss 0.3    makes both interfaces, prints "ready", and carries frames
//                                                       between them, in order, until its input ends
// So it goes with whoever started it. Kernels have a queue for this (netem), but not all of them.
//
// Frames are taken with the header of virtual network cards, so that the kernel hands over up to 64 KiB of a stream at
// once and leaves checksums and cutting to whoever comes behind: one call moves what would else be 44 frames.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "arrow/result.h"
#include "frame.h"

namespace {

using Clock = std::chrono::steady_clock;

/// What stands before each frame (virtio_net_hdr, whose own header is not C++).
constexpr size_t kVirtualHeader = 10;
constexpr size_t kLargest = kVirtualHeader + 14 + 65536;
/// Then the other direction has its turn, and what is due leaves.
constexpr int kFramesPerTurn = 32;
/// Of one direction; what comes beyond is lost, as in a router.
constexpr size_t kWaitingMost = size_t{64} << 20;
/// A wire carries at its own pace, however busy the machine is with what hangs at its ends.
constexpr int kPriority = -15;

struct Settings {
  std::string here;
  std::string there;
  double delay_ms = 0;
  double syn_loss = 0;
  uint64_t seed = 1;
};

arrow::Status Failed(const std::string& what) {
  return arrow::Status::IOError(what, ": ", std::strerror(errno), "; making interfaces needs root and /dev/net/tun");
}

arrow::Result<int> MakeInterface(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof(request.ifr_name)) {
    return arrow::Status::Invalid("'", name, "' as an interface; its name has 1 to 15 letters");
  }
  const int tap = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) {
    return Failed("/dev/net/tun");
  }
  name.copy(request.ifr_name, name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap, TUNSETIFF, &request) != 0 ||
      ::ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) != 0) {
    return Failed("interface " + name);
  }
  return tap;
}

/// Frames on their way from one interface to the other.
class Direction {
 public:
  Direction(int source, int target, const Settings& settings, std::mt19937_64* lots)
      : source_(source),
        target_(target),
        delay_(
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(settings.delay_ms))),
        lost_(settings.syn_loss),
        lots_(lots),
        scratch_(kLargest) {}

  /// When the next frame leaves, if one waits.
  std::optional<Clock::time_point> Due() const {
    return waiting_.empty() ? std::nullopt : std::optional(waiting_.front().due);
  }

  /// Reads what has arrived.
  arrow::Status Take() {
    for (int frame = 0; frame < kFramesPerTurn; ++frame) {
      const ssize_t size = ::read(source_, scratch_.data(), scratch_.size());
      if (size < 0) {
        return errno == EAGAIN || errno == EINTR ? arrow::Status::OK() : Failed("reading frames");
      }
      const std::span<const uint8_t> taken(scratch_.data(), static_cast<size_t>(size));
      if (taken.size() < kVirtualHeader || bytes_ + taken.size() > kWaitingMost ||
          (cylon::OpensConnection(taken.subspan(kVirtualHeader)) && lost_(*lots_))) {
        continue;
      }
      bytes_ += taken.size();
      waiting_.push_back({Clock::now() + delay_, {taken.begin(), taken.end()}});
    }
    return arrow::Status::OK();
  }

  /// Writes what is due.
  arrow::Status PassOn() {
    while (!waiting_.empty() && waiting_.front().due <= Clock::now()) {
      const auto& frame = waiting_.front().frame;
      // EIO: an interface that is not up yet, or no longer; its end of the wire hangs loose, the frame is lost.
      if (::write(target_, frame.data(), frame.size()) < 0 && errno != EIO && errno != EAGAIN) {
        return Failed("writing a frame");
      }
      bytes_ -= frame.size();
      waiting_.pop_front();
    }
    return arrow::Status::OK();
  }

 private:
  struct Waiting {
    Clock::time_point due;
    std::vector<uint8_t> frame;
  };

  const int source_;
  const int target_;
  const Clock::duration delay_;
  std::bernoulli_distribution lost_;
  std::mt19937_64* const lots_;
  std::vector<uint8_t> scratch_;
  std::deque<Waiting> waiting_;
  size_t bytes_ = 0;
};

arrow::Status Carry(const Settings& settings) {
  if (::setpriority(PRIO_PROCESS, 0, kPriority) != 0) {
    return Failed("raising the priority");
  }
  ARROW_ASSIGN_OR_RAISE(const int here, MakeInterface(settings.here));
  ARROW_ASSIGN_OR_RAISE(const int there, MakeInterface(settings.there));
  std::mt19937_64 lots(settings.seed);
  std::array<Direction, 2> ways{{{here, there, settings, &lots}, {there, here, settings, &lots}}};
  std::cout << "ready\n" << std::flush;

  while (true) {
    std::optional<Clock::time_point> next;
    for (const auto& way : ways) {
      const auto due = way.Due();
      next = due && (!next || *due < *next) ? due : next;
    }
    std::array<pollfd, 3> ready{{{here, POLLIN, 0}, {there, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
    timespec patience{};
    if (next) {
      const auto left = std::max(std::chrono::nanoseconds(*next - Clock::now()), std::chrono::nanoseconds(0));
      patience.tv_sec = left / std::chrono::seconds(1);
      patience.tv_nsec = (left % std::chrono::seconds(1)).count();
    }
    if (::ppoll(ready.data(), ready.size(), next ? &patience : nullptr, nullptr) < 0 && errno != EINTR) {
      return Failed("waiting for frames");
    }
    if (ready[2].revents != 0) {
      return arrow::Status::OK();
    }
    for (size_t way = 0; way < ways.size(); ++way) {
      if ((ready[way].revents & POLLIN) != 0) {
        ARROW_RETURN_NOT_OK(ways[way].Take());
      }
    }
    for (auto& way : ways) {
      ARROW_RETURN_NOT_OK(way.PassOn());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"A wire that delays frames and loses first packets of connections, until its input ends."};
  Settings settings;
  app.add_option("here", settings.here, "the interface at one end, made in this namespace")->required();
  app.add_option("there", settings.there, "the interface at the other end, made here too: move it where it belongs")
      ->required();
  app.add_option("--delay-ms", settings.delay_ms, "of each way")->check(CLI::NonNegativeNumber);
  app.add_option("--syn-loss", settings.syn_loss, "share of packets with SYN and without ACK that is lost, each way")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--seed", settings.seed, "decides which of them");
  CLI11_PARSE(app, argc, argv);
  const arrow::Status status = Carry(settings);
  if (!status.ok()) {
    std::cerr << "lab-wire: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
