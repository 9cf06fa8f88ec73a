// Redis' protocol: commands and replies as bytes.
#include "cylon/wire/resp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "cylon/base/error.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;
using Kind = RespValue::Kind;

struct Decoded {
  std::vector<RespValue> replies;
  arrow::Status status;
};

/// All replies in `bytes`, fed in pieces that end at `cuts` (ascending).
Decoded Decode(std::string_view bytes, const std::vector<size_t>& cuts = {}) {
  RespDecoder decoder;
  Decoded out;
  size_t at = 0;
  const auto feed = [&](size_t end) {
    std::string_view piece = bytes.substr(at, end - at);
    at = end;
    while (out.status.ok() && !piece.empty()) {
      auto reply = decoder.Next(&piece);
      out.status = reply.status();
      if (reply.ok() && reply->has_value()) {
        out.replies.push_back(**std::move(reply));
      }
    }
  };
  for (const size_t cut : cuts) {
    feed(cut);
  }
  feed(bytes.size());
  return out;
}

const std::string kReplies =
    "+OK\r\n-ERR no such thing\r\n:-42\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n"
    "*4\r\n:1\r\n$1\r\nx\r\n$-1\r\n*2\r\n*0\r\n+y\r\n:7\r\n"s;

TEST(RespTest, EncodesCommandsAsBulkStrings) {
  EXPECT_EQ(EncodeRespCommand({"SET", "k", "\0\r\n"s, ""}),
            "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\0\r\n\r\n$0\r\n\r\n"s);
}

TEST(RespTest, ReadsEachKindOfReply) {
  const auto decoded = Decode(kReplies);
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  const RespValue y{Kind::kSimple, "y", 0, {}};
  const RespValue nothing{Kind::kArray, "", 0, {}};
  const std::vector<RespValue> expected = {
      {Kind::kSimple, "OK", 0, {}},
      {Kind::kError, "ERR no such thing", 0, {}},
      {Kind::kInteger, "", -42, {}},
      {Kind::kBulk, "a\r\n\0b"s, 0, {}},
      {Kind::kBulk, "", 0, {}},
      {},
      {},
      nothing,
      {Kind::kArray,
       "",
       0,
       {{Kind::kInteger, "", 1, {}}, {Kind::kBulk, "x", 0, {}}, {}, {Kind::kArray, "", 0, {nothing, y}}}},
      {Kind::kInteger, "", 7, {}}};
  EXPECT_TRUE(decoded.replies == expected);
}

TEST(RespTest, AnyPiecesGiveTheSame) {
  const auto whole = Decode(kReplies);
  std::vector<size_t> every;
  for (size_t first = 0; first <= kReplies.size(); ++first) {
    every.push_back(first);
    for (size_t second = first; second <= kReplies.size(); ++second) {
      const auto pieces = Decode(kReplies, {first, second});
      ASSERT_TRUE(pieces.status.ok()) << pieces.status;
      ASSERT_TRUE(pieces.replies == whole.replies) << first << " " << second;
    }
  }
  EXPECT_TRUE(Decode(kReplies, every).replies == whole.replies);
}

TEST(RespTest, SaysWhatIsWrong) {
  const std::string deep = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n";
  const std::pair<std::string, const char*> cases[] = {
      {"HTTP/1.1 400 Bad Request\r\n", "begins with 'H'"},
      {"\x16\x03", "begins with byte 22"},
      {"\r\n", "begins with byte 13"},
      {"+OK\n", "return and a newline"},
      {"+O\rK\r\n", "return and a newline"},
      {"+\n", "return and a newline"},
      {":\r\n", "has to be a number"},
      {":1x\r\n", "has to be a number"},
      {":9223372036854775808\r\n", "has to be a number"},
      {"$\r\n", "has to be a number"},
      {"$-2\r\n", "announces -2 bytes"},
      {"$17825793\r\n", "announces 17825793 bytes; at most 17825792"},
      {"$1\r\nabc", "does not end where"},
      {"*-2\r\n", "announces -2 elements"},
      {"*1025\r\n", "announces 1025 elements; at most 1024"},
      {deep + "*0\r\n", "more than 5 deep"},
      {"+" + std::string(kMaxRespLine, 'x') + "\r\n", "longer than 65536"},
      {"-" + std::string(kMaxRespLine + 10, 'x'), "longer than 65536"},
      {"*2\r\n$17825792\r\n" + std::string(kMaxRespBulk, 'x') + "\r\n$17825792\r\n", "larger than 20971520"}};
  for (const auto& [bytes, what] : cases) {
    const auto decoded = Decode(":1\r\n" + bytes);
    EXPECT_EQ(decoded.replies.size(), 1);
    EXPECT_TRUE(IsError(decoded.status, ErrorKind::kProtocol)) << decoded.status;
    EXPECT_THAT(decoded.status.message(), HasSubstr(what));
    std::vector<size_t> cuts(std::min<size_t>(bytes.size(), 200));
    for (size_t i = 0; i < cuts.size(); ++i) {
      cuts[i] = i;
    }
    EXPECT_EQ(Decode(bytes, cuts).status.message(), decoded.status.message());
  }
}

TEST(RespTest, TheLimitsThemselvesAreFine) {
  const auto decoded = Decode("+" + std::string(kMaxRespLine - 1, 'x') + "\r\n$17825792\r\n" +
                              std::string(kMaxRespBulk, 'x') + "\r\n*1\r\n*1\r\n*1\r\n*0\r\n");
  EXPECT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_EQ(decoded.replies.size(), 3);
}

TEST(RespTest, NothingIsReadAfterGarbage) {
  RespDecoder decoder;
  std::string_view garbage = "x";
  const auto refused = decoder.Next(&garbage).status();
  EXPECT_FALSE(refused.ok());
  std::string_view fine = "+OK\r\n";
  EXPECT_EQ(decoder.Next(&fine).status().message(), refused.message());
}

/// All the memory behind `value`.
size_t Weight(const RespValue& value) {
  size_t bytes = value.text.size();
  for (const auto& element : value.elements) {
    bytes += sizeof(RespValue) + Weight(element);
  }
  return bytes;
}

TEST(RespTest, GarbageStaysWithinTheLimits) {
  std::mt19937 random(7);
  const std::string alphabet = "+-:$*\r\n0123456789x\0"s;
  const std::string pieces[] = {"\r\n", "*", "$", "*3\r\n", "$2\r\n", "ab\r\n", ":1\r\n", "*1024\r\n", "$17000000\r\n"};
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = round % 4 == 0 ? "" : kReplies.substr(0, random() % kReplies.size());
    for (size_t i = random() % 40; i > 0; --i) {
      if (random() % 2 == 0) {
        bytes += alphabet[random() % alphabet.size()];
      } else {
        bytes += pieces[random() % std::size(pieces)];
      }
    }
    if (!bytes.empty() && round % 3 == 0) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const size_t cut = random() % (bytes.size() + 1);
    const auto pieces_of_it = Decode(bytes, {cut});
    const auto whole = Decode(bytes);
    ASSERT_TRUE(pieces_of_it.replies == whole.replies);
    ASSERT_EQ(pieces_of_it.status.message(), whole.status.message());
    for (const auto& reply : whole.replies) {
      ASSERT_LE(Weight(reply), kMaxRespReply);
    }
  }
}

TEST(RespTest, ManyArraysInArraysAreRefusedBeforeTheyAreHeld) {
  std::string bytes = "*1024\r\n";
  for (int i = 0; i < 1024; ++i) {
    bytes += "*1024\r\n";
    for (int j = 0; j < 1024; ++j) {
      bytes += ":1\r\n";
    }
  }
  EXPECT_THAT(Decode(bytes).status.message(), HasSubstr("a reply is larger than"));
}

}  // namespace
}  // namespace cylon::testing
