// The generator gives numpy's numbers.
#include "numpy_random.h"

#include <gtest/gtest.h>

namespace cylon::bench {
namespace {

/// numpy.random.default_rng(seed).integers(0, int(9100000 * 0.9), 6), by numpy 2.4.6.
TEST(NumpyRandomTest, GivesNumpysNumbers) {
  const uint64_t expected[2][6] = {{6966612, 5216716, 4186207, 2209553, 2521122, 335573},
                                   {3875415, 4191819, 6184821, 7784297, 285442, 1180667}};
  for (uint32_t seed = 0; seed < 2; ++seed) {
    NumpyRandom random(seed);
    for (const uint64_t value : expected[seed]) {
      EXPECT_EQ(random.Integer(8190000), value);
    }
  }
}

}  // namespace
}  // namespace cylon::bench
