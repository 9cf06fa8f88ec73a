// Words marked against a naive count.
#include "cylon/kernels/distinct_words.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "cylon/kernels/hash_columns.h"

namespace cylon {
namespace {

constexpr int kBits = 3;

/// `count` words of partition `partition`, out of about `distinct` different ones.
std::vector<uint64_t> WordsOf(uint64_t partition, int64_t count, uint64_t distinct, uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::vector<uint64_t> words;
  while (static_cast<int64_t>(words.size()) < count) {
    const uint64_t word = rng() % (distinct << kBits);
    if ((HashOfWord(word) & ((1u << kBits) - 1)) == partition) {
      words.push_back(word);
    }
  }
  return words;
}

std::vector<uint8_t> NaiveMarks(const std::vector<uint64_t>& words, Keep keep) {
  std::map<uint64_t, std::vector<size_t>> places;
  for (size_t i = 0; i < words.size(); ++i) {
    places[words[i]].push_back(i);
  }
  std::vector<uint8_t> marks(words.size(), 0);
  for (const auto& [word, where] : places) {
    if (keep != Keep::kNone || where.size() == 1) {
      marks[keep == Keep::kLast ? where.back() : where.front()] = 1;
    }
  }
  return marks;
}

TEST(DistinctWordsTest, MarksFirstLastOrLonelyWordsOverSeveralRuns) {
  for (const Keep keep : {Keep::kFirst, Keep::kLast, Keep::kNone}) {
    DistinctWords table(keep, kBits);
    // Few words, many words and so many that the table has to grow, one partition after the other.
    const uint64_t distinct[] = {1, 40, 5000, 200000};
    for (uint64_t partition = 0; partition < 4; ++partition) {
      const auto words = WordsOf(partition, partition == 3 ? 150000 : 9000, distinct[partition], partition);
      std::vector<uint8_t> kept(words.size(), 7);
      const auto count = static_cast<int64_t>(words.size());
      const int64_t cuts[] = {0, 0, 1, 3000, count - 1, count};
      std::vector<WordRun> runs;
      for (size_t i = 1; i < std::size(cuts); ++i) {
        runs.push_back({words.data() + cuts[i - 1], cuts[i] - cuts[i - 1], kept.data() + cuts[i - 1]});
      }
      table.Mark(runs);
      EXPECT_TRUE(kept == NaiveMarks(words, keep)) << "partition " << partition;
    }
  }
}

TEST(DistinctWordsTest, OneWordOfAnyPartitionStandsOnce) {
  const std::vector<uint64_t> words(5000, 0);
  for (const Keep keep : {Keep::kFirst, Keep::kLast, Keep::kNone}) {
    std::vector<uint8_t> kept(words.size(), 7);
    const WordRun run{words.data(), static_cast<int64_t>(words.size()), kept.data()};
    DistinctWords(keep, 11).Mark(std::span(&run, 1));
    EXPECT_EQ(kept, NaiveMarks(words, keep));
  }
}

TEST(DistinctWordsTest, NoWordsAreNoWork) {
  DistinctWords table(Keep::kNone, 1);
  table.Mark({});
  const WordRun run{};
  table.Mark(std::span(&run, 1));
}

}  // namespace
}  // namespace cylon
