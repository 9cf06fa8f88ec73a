// Ranks of one host reach each other through its memory.
#include "cylon/net/shm/shm_path.h"

#include <algorithm>
#include <array>
#include <bit>
#include <fstream>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/net/shm/shm_stream.h"
#include "cylon/net/shm/unix_socket.h"
#include "cylon/wire/bytes.h"

namespace cylon {

namespace {

using internal::Descriptor;
using internal::RingMemory;
using internal::UnixListener;
using internal::UnixStream;

constexpr std::string_view kScheme = "shm://";
constexpr uint32_t kMagic = 0x4d535943;  // "CYSM"
constexpr uint32_t kVersion = 1;
constexpr size_t kOfferBytes = 16;
constexpr uint8_t kReady = 1;

/// Together, of one rank.
constexpr int64_t kAllRingsBytes = 16 << 20;
constexpr int64_t kUsualRingBytes = 1 << 20;
constexpr auto kUsualSpin = std::chrono::microseconds(50);

/// What tells this host, since its last start, from all others.
arrow::Result<std::string> BootId() {
  constexpr const char* kFile = "/proc/sys/kernel/random/boot_id";
  std::ifstream file(kFile);
  std::string id;
  if (!std::getline(file, id) || id.empty() || id.find_first_of("/ ") != std::string::npos) {
    return arrow::Status::IOError("cannot tell which host this is: ", kFile,
                                  " has no id; set CYLON_TRANSPORT=tcp where /proc is not mounted");
  }
  return id;
}

/// A stream whose ends agree on memory: ended by its deadline, or with the path.
struct Settlement {
  explicit Settlement(std::unique_ptr<UnixStream> own) : stream(std::move(own)) {}
  std::unique_ptr<UnixStream> stream;
  arrow::Future<> ended = arrow::Future<>::Make();
  bool expired = false;

  void End() {
    if (stream != nullptr && !ended.is_finished()) {
      stream->Close();
      ended.MarkFinished();
    }
  }
};

class ShmPath : public Path {
 public:
  ShmPath(AsioExecutor& executor, const ShmOptions& options, std::unique_ptr<UnixListener> listener,
          const std::string& boot_id)
      : executor_(executor),
        options_(options),
        listener_(std::move(listener)),
        host_(std::string(kScheme) + boot_id + "/") {}

  ~ShmPath() override { ShmPath::Close(); }

  std::string name() const override { return "shm"; }
  std::string address() const override { return host_ + listener_->name(); }

  void Accept(std::function<void(std::unique_ptr<Stream>)> accept) override { listener_->Accept(std::move(accept)); }

  bool Reaches(const std::string& address) const override { return address.starts_with(host_); }

  Co<std::unique_ptr<Stream>> Dial(std::string address, TimePoint deadline, arrow::Future<> stop) override {
    if (!Reaches(address)) {
      co_return arrow::Status::Invalid("the address ", address, " is of another host than ", host_);
    }
    auto connect = internal::ConnectUnix(executor_, address.substr(host_.size()), deadline, std::move(stop));
    CYLON_CO_ASSIGN_OR_RETURN(auto stream, co_await connect);
    co_return std::unique_ptr<Stream>(std::move(stream));
  }

  Co<std::unique_ptr<Stream>> Settle(std::unique_ptr<Stream> proven, bool dialler, TimePoint deadline) override {
    auto* as_unix = dynamic_cast<UnixStream*>(proven.get());
    if (as_unix == nullptr) {
      co_return arrow::Status::Invalid("the stream to ", proven->peer_name(), " is none that shm has made");
    }
    std::ignore = proven.release();
    auto settlement = std::make_shared<Settlement>(std::unique_ptr<UnixStream>(as_unix));
    std::erase_if(settling_, [](const auto& each) { return each.expired(); });
    settling_.push_back(settlement);
    auto timer = executor_.PostAt(deadline, [weak = std::weak_ptr<Settlement>(settlement)] {
      if (auto late = weak.lock()) {
        late->expired = true;
        late->End();
      }
    });
    // Nothing of this path is used after a wait: it may have gone.
    auto& executor = executor_;
    auto share = dialler ? Offer(settlement, options_.ring_bytes) : TakeOffer(settlement);
    auto memory = co_await share;
    timer->Cancel();
    auto stream = std::move(settlement->stream);
    if (!memory.ok()) {
      stream->Close();
      co_return settlement->expired ? DeadlineError(stream->peer_name() +
                                                    " did not answer in time when memory was to be shared with it; is "
                                                    "it stopped, or overloaded?")
                                    : memory.status();
    }
    co_return internal::MakeShmStream(executor, std::move(stream), memory.MoveValueUnsafe(), dialler);
  }

  void Close() override {
    listener_->Close();
    for (const auto& each : std::exchange(settling_, {})) {
      if (auto settlement = each.lock()) {
        settlement->End();
      }
    }
  }

 private:
  static Co<RingMemory> Offer(std::shared_ptr<Settlement> settlement, int64_t bytes) {
    auto* stream = settlement->stream.get();
    const auto ring_bytes = static_cast<uint64_t>(bytes);
    CYLON_CO_ASSIGN_OR_RETURN(auto made, RingMemory::Make(ring_bytes));
    ByteWriter out;
    out.Number(kMagic);
    out.Number(kVersion);
    out.Number(ring_bytes);
    std::array<uint8_t, kOfferBytes> offer;
    std::copy(out.bytes().begin(), out.bytes().end(), offer.begin());
    CYLON_CO_RETURN_NOT_OK(SendDescriptor(*stream, made.second, offer));
    std::array<uint8_t, 1> answer{};
    auto read = stream->Read(answer);
    CYLON_CO_RETURN_NOT_OK(co_await read);
    if (answer[0] != kReady) {
      co_return ProtocolError(stream->peer_name() + " answered " + std::to_string(answer[0]) +
                              " when memory was passed to it; expected " + std::to_string(kReady));
    }
    co_return std::move(made.first);
  }

  static Co<RingMemory> TakeOffer(std::shared_ptr<Settlement> settlement) {
    auto* stream = settlement->stream.get();
    std::array<uint8_t, kOfferBytes> offer{};
    auto receive = internal::ReceiveDescriptor(stream, offer, settlement->ended);
    CYLON_CO_ASSIGN_OR_RETURN(const Descriptor descriptor, co_await receive);
    ByteReader in(std::string_view(static_cast<const char*>(static_cast<const void*>(offer.data())), offer.size()));
    const auto magic = in.Number<uint32_t>();
    const auto version = in.Number<uint32_t>();
    const auto ring_bytes = in.Number<uint64_t>();
    if (magic != kMagic || version != kVersion) {
      co_return ProtocolError(stream->peer_name() + " offers memory in a way that is not known here (version " +
                              std::to_string(version) + ", not " + std::to_string(kVersion) +
                              "); check that all ranks run the same version of Cylon");
    }
    CYLON_CO_ASSIGN_OR_RETURN(auto memory, RingMemory::Map(descriptor, ring_bytes));
    const std::array<uint8_t, 1> answer{kReady};
    auto write = stream->Write({std::span<const uint8_t>(answer)});
    CYLON_CO_RETURN_NOT_OK(co_await write);
    co_return std::move(memory);
  }

  AsioExecutor& executor_;
  const ShmOptions options_;
  std::unique_ptr<UnixListener> listener_;
  std::vector<std::weak_ptr<Settlement>> settling_;
  const std::string host_;  // what the addresses of this host begin with
};

}  // namespace

ShmOptions FitShmOptions(int64_t ring_bytes, int spin_us, int local_size, int cores) {
  ShmOptions options;
  options.ring_bytes = ring_bytes;
  if (ring_bytes == 0) {
    const int64_t rings = 2 * std::max<int64_t>(1, local_size - 1);
    const auto share = std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, kAllRingsBytes / rings)));
    options.ring_bytes = std::clamp<int64_t>(static_cast<int64_t>(share), 64 << 10, kUsualRingBytes);
  }
  if (spin_us >= 0) {
    options.spin = std::chrono::microseconds(spin_us);
  } else {
    options.spin = local_size <= cores ? Duration(kUsualSpin) : Duration(0);
  }
  return options;
}

arrow::Result<std::unique_ptr<Path>> ListenShm(AsioExecutor& executor, const ShmOptions& options) {
  // Fails here rather than at the first dial where the system has no such memory.
  ARROW_RETURN_NOT_OK(RingMemory::Make(static_cast<uint64_t>(options.ring_bytes)).status());
  ARROW_ASSIGN_OR_RAISE(const std::string boot_id, BootId());
  ARROW_ASSIGN_OR_RAISE(auto listener, UnixListener::Listen(executor));
  executor.SetSpin(options.spin);
  return std::make_unique<ShmPath>(executor, options, std::move(listener), boot_id);
}

}  // namespace cylon
