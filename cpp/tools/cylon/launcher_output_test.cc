// Lines with a prefix.
#include "launcher_output.h"

#include <gtest/gtest.h>

namespace cylon::tools {
namespace {

std::string Through(std::initializer_list<std::string_view> pieces) {
  LinePrefixer lines("[3] ");
  std::string out;
  for (const auto piece : pieces) {
    lines.Add(piece, &out);
  }
  lines.Finish(&out);
  return out;
}

TEST(LinePrefixerTest, LinesAreWholeHoweverTheyArrive) {
  EXPECT_EQ(Through({"a\nb\n"}), "[3] a\n[3] b\n");
  EXPECT_EQ(Through({"a", "b\nc", "d"}), "[3] ab\n[3] cd\n");
  EXPECT_EQ(Through({"\n\n"}), "[3] \n[3] \n");
  EXPECT_EQ(Through({}), "");
}

TEST(LinePrefixerTest, AProgressLinePassesAndCarriageReturnNewlineStaysTogether) {
  EXPECT_EQ(Through({"10%\r20%\r", "done\n"}), "[3] 10%\r[3] 20%\r[3] done\n");
  EXPECT_EQ(Through({"a\r\nb\r", "\nc"}), "[3] a\r\n[3] b\r\n[3] c\n");
  EXPECT_EQ(Through({"50%\r"}), "[3] 50%\r");
}

TEST(LinePrefixerTest, ALineWithoutEndIsCutBeforeItFillsMemory) {
  LinePrefixer lines("[0] ");
  std::string out;
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) {
    lines.Add(megabyte, &out);
  }
  EXPECT_EQ(out.size(), (16U << 20) + 5);
}

}  // namespace
}  // namespace cylon::tools
