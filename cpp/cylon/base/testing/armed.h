/// For tests: failpoints that are armed while an object lives. Only for builds that have them.
#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "cylon/base/failpoint.h"

namespace cylon::testing {

class Armed {
 public:
  explicit Armed(std::string_view failpoints) {
    const auto status = SetFailpoints(failpoints);
    EXPECT_TRUE(status.ok()) << status;
  }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;
  ~Armed() { EXPECT_TRUE(SetFailpoints("").ok()); }
};

}  // namespace cylon::testing
