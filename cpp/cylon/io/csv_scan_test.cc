// Lines found from any byte on.
#include "cylon/io/csv_scan.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace cylon::csv {
namespace {

std::string RandomText(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  constexpr std::string_view kBytes = "ab,,\"\"\"\n\n\r";
  std::string text;
  while (text.size() < size) {
    text.push_back(kBytes[random() % kBytes.size()]);
  }
  return text;
}

TEST(LineScannerTest, AQuoteOpensOnlyWhereAValueBegins) {
  const LineScanner scanner(',', '"', true);
  EXPECT_EQ(scanner.Run(State::kLineStart, "a\"b"), State::kValue);
  EXPECT_EQ(scanner.Run(State::kLineStart, "a,\"b\n"), State::kQuoted);
  EXPECT_EQ(scanner.Run(State::kLineStart, "a,\"b\"\"\n"), State::kQuoted);
  EXPECT_EQ(scanner.Run(State::kLineStart, "a,\"b\"\n"), State::kLineStart);
  EXPECT_EQ(scanner.Run(State::kLineStart, "\"a\"b\",\n"), State::kLineStart);
}

TEST(LineScannerTest, MapsOfPiecesComposeToTheStateOfTheWhole) {
  const LineScanner scanner(',', '"', true);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string text = RandomText(seed, 3000);
    std::mt19937_64 random(seed);
    StateMap map = kIdentity;
    for (size_t begin = 0; begin < text.size();) {
      const size_t size = random() % 700;
      const auto piece = scanner.RunAll(kIdentity, std::string_view(text).substr(begin, size));
      EXPECT_EQ(Unpack(Pack(piece)), piece);
      map = Compose(map, piece);
      begin += size;
    }
    for (const State state : kIdentity) {
      EXPECT_EQ(map[static_cast<size_t>(state)], scanner.Run(state, text));
    }
  }
}

TEST(LineScannerTest, FirstAndLastLinesAreWhereLinesBegin) {
  for (const bool quotes : {false, true}) {
    const LineScanner scanner(',', '"', quotes);
    for (uint64_t seed = 0; seed < 100; ++seed) {
      const std::string text = RandomText(seed, 200);
      std::set<size_t> begins;
      State state = State::kLineStart;
      for (size_t i = 0; i < text.size(); ++i) {
        state = scanner.Next(state, text[i]);
        if (state == State::kLineStart) {
          begins.insert(i + 1);
        }
      }
      State first = State::kLineStart;
      EXPECT_EQ(scanner.FirstLineBegin(&first, text), begins.empty() ? std::string::npos : *begins.begin());
      EXPECT_EQ(scanner.LastLineBegin(text), begins.empty() ? std::string::npos : *begins.rbegin());
    }
  }
}

TEST(LineScannerTest, EmptyLinesAreNotVisited) {
  const LineScanner scanner(',', '"', true);
  std::vector<std::pair<size_t, std::string>> lines;
  scanner.ForEachLine("a\r\n\n\"b\n\"\nc", [&](size_t begin, std::string_view line) {
    lines.emplace_back(begin, line);
    return true;
  });
  const std::vector<std::pair<size_t, std::string>> expected = {{0, "a"}, {4, "\"b\n\""}, {9, "c"}};
  EXPECT_EQ(lines, expected);
}

}  // namespace
}  // namespace cylon::csv
