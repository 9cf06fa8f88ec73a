// Addresses, URLs and options as people and launchers write them; a password never comes back in an error.
#include <algorithm>
#include <map>

#include "cylon/base/options.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/redis_address.h"
#include "cylon/wire/stream.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

void CheckHostPort(std::string_view text) {
  const auto parsed = HostPort::Parse(text);
  if (parsed.ok()) {
    const auto again = HostPort::Parse(parsed->ToString());
    // A host with a bracket of its own is nobody's, and is not written so that it is read again.
    const bool plain = parsed->host.find_first_of("[]/") == std::string::npos;
    Require(!plain || (again.ok() && again->host == parsed->host && again->port == parsed->port),
            "an address that was read cannot be written and read");
  }
}

// The password is a word that nothing else has, and no prefix of a message.
void CheckRedis(std::string_view text) {
  constexpr std::string_view kPassword = "Zq7Zq7Zq7Zq7";
  const auto parsed = RedisAddress::Parse(text);
  if (text.find(kPassword) != std::string_view::npos) {
    if (!parsed.ok()) {
      Require(parsed.status().message().find(kPassword) == std::string::npos, "an error repeats a password");
    } else if (parsed->password.find(kPassword) != std::string::npos &&
               parsed->server.host.find(kPassword) == std::string::npos &&
               parsed->user.find(kPassword) == std::string::npos) {
      Require(parsed->ToString().find(kPassword) == std::string::npos, "a server's name repeats a password");
    }
  }
  if (parsed.ok()) {
    Require(parsed->database >= 0 && parsed->server.port != 0, "a URL beyond its limits was taken");
  }
}

void CheckOptions(Input in) {
  std::map<std::string, std::string> environment;
  for (int i = 0; i < 8 && !in.empty(); ++i) {
    const auto table = OptionTable();
    const size_t which = in.Byte();
    const std::string name = which < table.size() ? std::string(table[which].environment) : std::string(in.Text());
    environment[name] = std::string(in.Text());
  }
  const auto options = OptionsFrom(environment);
  if (!options.ok()) {
    Require(!options.status().message().empty(), "a refusal without words");
    return;
  }
  Require(options->rank < std::max(options->world_size, 1) && options->local_size >= 1 && options->memory_bytes >= 0 &&
              options->join_deadline_s > 0 && options->join_deadline_s <= 1e9,
          "options beyond their limits were taken");
}

void RunSettings(std::string_view bytes) {
  Input in(bytes);
  switch (in.Byte()) {
    case 0:
      return CheckHostPort(in.Rest());
    case 1:
      return CheckRedis(in.Rest());
    case 2: {
      const auto text = in.Rest();
      const auto decoded = HexDecode(text);
      Require(!decoded.ok() || decoded->size() * 2 == text.size(), "hexadecimal digits of another length");
      return;
    }
    default:
      return CheckOptions(in);
  }
}

std::vector<std::string> SettingSeeds() {
  std::vector<std::string> seeds;
  for (const char* address : {"127.0.0.1:4711", "[::1]:1", "tcp://node7:65535", "a:b:c", ":1", "x:65536"}) {
    seeds.push_back(Output().Byte(0).Raw(address).bytes());
  }
  for (const char* url :
       {"redis://localhost", "redis://user:Zq7Zq7Zq7Zq7@[::1]:6379/3", "rediss://:Zq7Zq7Zq7Zq7@h:1?ca=%2Fetc%2Fca.pem",
        "redis://a@b@c/%zz", "rediss://u%3a:p%40@h/"}) {
    seeds.push_back(Output().Byte(1).Raw(url).bytes());
  }
  seeds.push_back(Output().Byte(2).Raw("00ffA0").bytes());
  const auto table = OptionTable();
  for (size_t i = 0; i < table.size(); ++i) {
    seeds.push_back(Output().Byte(3).Byte(static_cast<uint8_t>(i)).Text(table[i].default_text).bytes());
  }
  Output launcher;
  launcher.Byte(3);
  for (const auto& [name, value] : std::map<std::string, std::string>{{"OMPI_COMM_WORLD_RANK", "1"},
                                                                      {"OMPI_COMM_WORLD_SIZE", "4"},
                                                                      {"SLURM_PROCID", "0"},
                                                                      {"CYLON_MEMORY", "1.5 GiB"}}) {
    launcher.Byte(255).Text(name).Text(value);
  }
  seeds.push_back(launcher.bytes());
  return seeds;
}

const Registration kSettings({"settings", RunSettings, SettingSeeds});

}  // namespace
}  // namespace cylon::fuzz
