// What fails on purpose on a TCP connection is told to who waits, and what is cut short arrives whole.
#ifdef CYLON_FAILPOINTS

#include "cylon/base/testing/armed.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

TEST(TcpFailpointTest, ShortWritesArriveWhole) {
  StreamPair pair;
  Armed armed("net.write=short(3)");
  std::string sent;
  for (int i = 0; i < 5000; ++i) {
    sent.push_back(static_cast<char>(i * 7));
  }
  std::string got(sent.size(), '\0');
  auto reading = pair.Start([&] { return pair.far->Read(Bytes(got)); });
  const std::string_view whole(sent);
  auto writing =
      pair.Start([&] { return pair.near->Write({Bytes(whole.substr(0, 1000)), Bytes(whole.substr(1000))}); });
  ASSERT_TRUE(pair.Await(writing).ok());
  ASSERT_TRUE(pair.Await(reading).ok());
  EXPECT_EQ(got, sent);
}

TEST(TcpFailpointTest, AReadOrAWriteFailsWithItsMessage) {
  StreamPair pair;
  std::string byte(1, 'x');
  {
    Armed armed("net.write=return(cable cut)");
    auto writing = pair.Start([&] { return pair.near->Write({Bytes(std::string_view(byte))}); });
    EXPECT_THAT(pair.Await(writing).message(), HasSubstr("cable cut (failpoint net.write)"));
  }
  Armed armed("net.read=return(cable cut)");
  auto reading = pair.Start([&] { return pair.far->Read(Bytes(byte)); });
  EXPECT_THAT(pair.Await(reading).message(), HasSubstr("cable cut (failpoint net.read)"));
}

TEST(TcpFailpointTest, AConnectionIsNotMade) {
  AsioExecutor executor("dial");
  Armed armed("net.dial=return(no way there)");
  auto dialling = Spawn(executor, ConnectTcp(executor.io(), executor, {"127.0.0.1", 1}, kNever));
  ASSERT_TRUE(executor.Wait(arrow::Future<>(dialling)).ok());
  EXPECT_THAT(dialling.status().message(), HasSubstr("no way there"));
}

}  // namespace
}  // namespace cylon::testing

#endif
