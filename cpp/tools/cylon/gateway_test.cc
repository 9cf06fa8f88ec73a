// What a server sees tells the kind of a gateway, as docs/nat.md says.
#include "gateway.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace cylon::tools {
namespace {

using Kinds = std::vector<std::string>;

constexpr uint16_t kPort = 4711;

GatewayEvidence Evidence(const std::string& own, const HostPort& seen, Stranger stranger = Stranger::kNobodyDialled) {
  return {{"127.0.0.1", own}, kPort, {{seen}, false}, stranger};
}

TEST(GatewayKindsTest, OneThatGivesEachTargetAPortIsSymmetric) {
  GatewayEvidence evidence = Evidence("10.0.0.2", {"203.0.113.2", 1});
  evidence.seen = {{{"203.0.113.2", 1}, {"203.0.113.2", 2}}, true};
  EXPECT_EQ(GatewayKinds(evidence), Kinds{"SYMMETRIC"});
}

TEST(GatewayKindsTest, OneThatTranslatesPortsIsMoving) {
  EXPECT_EQ(GatewayKinds(Evidence("10.0.0.2", {"203.0.113.2", 20000})), Kinds{"MOVING"});
  EXPECT_EQ(GatewayKinds(Evidence("10.0.0.2", {"203.0.113.2", 20000}, Stranger::kNoAnswer)), Kinds{"MOVING"});
}

TEST(GatewayKindsTest, WhetherStrangersGetInIsToldByOneWhoTried) {
  const HostPort seen{"203.0.113.2", kPort};
  EXPECT_EQ(GatewayKinds(Evidence("10.0.0.2", seen)), (Kinds{"FULL_CONE", "RESTRICTED", "TWO_IN_A_ROW", "RESETTING"}));
  EXPECT_EQ(GatewayKinds(Evidence("10.0.0.2", seen, Stranger::kArrives)), Kinds{"FULL_CONE"});
  EXPECT_EQ(GatewayKinds(Evidence("10.0.0.2", seen, Stranger::kNoAnswer)), (Kinds{"RESTRICTED", "TWO_IN_A_ROW"}));
  EXPECT_EQ(GatewayKinds(Evidence("10.0.0.2", seen, Stranger::kRefused)), Kinds{"RESETTING"});
}

TEST(GatewayKindsTest, AnAddressOfOnesOwnIsPublicUnlessStrangersAreKeptOut) {
  const HostPort seen{"203.0.113.2", kPort};
  EXPECT_EQ(GatewayKinds(Evidence(seen.host, seen)), (Kinds{"PUBLIC", "RESTRICTED"}));
  EXPECT_EQ(GatewayKinds(Evidence(seen.host, seen, Stranger::kArrives)), Kinds{"PUBLIC"});
  EXPECT_EQ(GatewayKinds(Evidence(seen.host, seen, Stranger::kNoAnswer)), Kinds{"RESTRICTED"});
  const HostPort six{"2001:db8::2", kPort};
  EXPECT_EQ(GatewayKinds(Evidence(six.host, six)), (Kinds{"PUBLIC", "IPV6_ONLY"}));
  EXPECT_EQ(GatewayKinds(Evidence(six.host, six, Stranger::kNoAnswer)), Kinds{"IPV6_ONLY"});
}

TEST(GatewayKindsTest, OfWhatNobodySawNothingIsSaid) { EXPECT_EQ(GatewayKinds({}), Kinds{}); }

TEST(WaysBetweenTest, AreThoseOfThePage) {
  // cpp/tools/cylon/<this file>: the root is four levels up.
  const auto page =
      std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path() / "docs" / "nat.md";
  std::ifstream in(page);
  std::string line;
  while (std::getline(in, line) && !line.starts_with("| from, to |")) {
  }
  const auto cells = [](std::string row) {
    std::erase_if(row, [](char c) { return c == ' ' || c == '`'; });
    std::vector<std::string> out;
    std::stringstream text(row.substr(1));
    for (std::string cell; std::getline(text, cell, '|');) {
      out.push_back(cell);
    }
    return out;
  };
  const auto header = cells(line);
  ASSERT_EQ(header.size(), WaysHeader().size() + 1) << page;
  EXPECT_TRUE(std::ranges::equal(header.begin() + 1, header.end(), WaysHeader().begin(), WaysHeader().end()));
  std::getline(in, line);
  int pairs = 0;
  for (size_t row = 0; row < WaysHeader().size() && std::getline(in, line); ++row) {
    const auto ways = cells(line);
    EXPECT_EQ(ways[0], WaysHeader()[row]);
    for (size_t column = row; column < WaysHeader().size(); ++column, ++pairs) {
      EXPECT_EQ(WaysBetween({ways[0]}, header[column + 1]), Kinds{ways[column + 1]}) << line;
      EXPECT_EQ(WaysBetween({header[column + 1]}, ways[0]), Kinds{ways[column + 1]}) << line;
    }
  }
  EXPECT_EQ(pairs, 36);
}

TEST(WaysBetweenTest, WhatIsNotKnownIsSaidTogether) {
  EXPECT_EQ(WaysBetween({"FULL_CONE", "RESTRICTED"}, "SYMMETRIC"), (Kinds{"direct", "relay"}));
  EXPECT_EQ(WaysBetween({"RESTRICTED", "TWO_IN_A_ROW"}, "MOVING"), Kinds{"punched"});
  EXPECT_EQ(WaysBetween({}, "PUBLIC"), Kinds{});
}

}  // namespace
}  // namespace cylon::tools
