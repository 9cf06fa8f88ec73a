// The one target of a program, as libFuzzer calls it. "--seeds=<directory>" writes its seeds there instead.
#include <cstdlib>
#include <string_view>

#include "fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  constexpr std::string_view kSeeds = "--seeds=";
  const std::string_view first = *count > 1 ? (*arguments)[1] : "";
  if (first.starts_with(kSeeds)) {
    cylon::fuzz::WriteSeeds(cylon::fuzz::Targets().at(0), std::string(first.substr(kSeeds.size())));
    std::_Exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  cylon::fuzz::Targets().at(0).run({reinterpret_cast<const char*>(data), size});
  return 0;
}
