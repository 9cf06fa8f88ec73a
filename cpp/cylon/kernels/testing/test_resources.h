/// Resources for tests: small morsels, any budget, spilling on request.
#pragma once

#include <memory>

#include "cylon/base/resources.h"

namespace cylon::testing {

struct TestSetting {
  int threads = 1;
  int64_t memory_bytes = int64_t{1} << 30;
  bool spill_always = false;
  int64_t morsel_rows = 100;
};

inline std::shared_ptr<Resources> MakeResources(const TestSetting& setting = {}) {
  Options options;
  options.threads = setting.threads;
  options.memory_bytes = setting.memory_bytes;
  options.spill_always = setting.spill_always;
  options.morsel_rows = setting.morsel_rows;
  return Resources::Make(options).ValueOrDie();
}

}  // namespace cylon::testing
