// Which places are told to others, and which of those that others tell are dialled.
#include "cylon/net/punch/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cylon::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Texts(const std::vector<HostPort>& all) {
  std::vector<std::string> out;
  for (const auto& each : all) {
    out.push_back(each.ToString());
  }
  return out;
}

std::vector<std::string> Dialled(const std::vector<HostPort>& told, const std::vector<HostPort>& seen = {},
                                 const std::vector<HostPort>& own = {}, bool loopback = false) {
  return Texts(DialableCandidates(told, {seen, false}, own, loopback));
}

TEST(CandidatesTest, KnowTheRangesOfAddresses) {
  for (const char* host :
       {"10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.7.7", "100.64.0.1", "100.127.255.255"}) {
    EXPECT_EQ(KindOf(host), AddressKind::kPrivate) << host;
  }
  for (const char* host : {"9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "192.167.0.1", "192.169.0.1",
                           "100.63.255.255", "100.128.0.0", "203.0.113.7", "2001:db8::1", "3fff::1"}) {
    EXPECT_EQ(KindOf(host), AddressKind::kPublic) << host;
  }
  for (const char* host : {"127.0.0.1", "127.8.8.8", "::1"}) {
    EXPECT_EQ(KindOf(host), AddressKind::kLoopback) << host;
  }
  for (const char* host :
       {"0.0.0.0", "0.1.2.3", "169.254.1.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "fe80::1",
        "ff02::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::1", "localhost", "", "10.0.0", "10.0.0.1:80"}) {
    EXPECT_EQ(KindOf(host), AddressKind::kNever) << host;
  }
}

TEST(CandidatesTest, PrivateOnesAndThoseOfIpv6AreTold) {
  const std::vector<std::string> hosts = {"127.0.0.1", "2001:db8::1", "203.0.113.7", "10.0.0.2", "169.254.0.3",
                                          "fe80::1",   "10.0.0.2",    "fd00::2",     "::1",      "192.168.0.5"};
  EXPECT_THAT(Texts(OwnCandidates(hosts, 4711, false)),
              ElementsAre("10.0.0.2:4711", "192.168.0.5:4711", "[2001:db8::1]:4711"));
  EXPECT_THAT(Texts(OwnCandidates({"127.0.0.1", "10.0.0.2"}, 4711, true)),
              ElementsAre("10.0.0.2:4711", "127.0.0.1:4711"));
  EXPECT_THAT(OwnCandidates({"10.0.0.2"}, 0, false), IsEmpty());
}

TEST(CandidatesTest, AtMostEightAreToldAndDialled) {
  std::vector<std::string> hosts;
  std::vector<HostPort> told;
  for (int i = 1; i <= 20; ++i) {
    hosts.push_back("10.0.0." + std::to_string(i));
    told.push_back({hosts.back(), 1});
  }
  EXPECT_EQ(OwnCandidates(hosts, 4711, false).size(), kMostCandidates);
  EXPECT_EQ(Dialled(told).size(), kMostCandidates);
}

TEST(CandidatesTest, TheHostsOwnInterfacesAreFound) {
  const auto hosts = InterfaceHosts();
  ASSERT_TRUE(hosts.ok()) << hosts.status();
  EXPECT_THAT(*hosts, ::testing::Contains("127.0.0.1"));
}

TEST(CandidatesTest, PublicOnesAreDialledOnlyAsTheServerSawThem) {
  EXPECT_THAT(Dialled({{"203.0.113.7", 80}}), IsEmpty());
  EXPECT_THAT(Dialled({{"203.0.113.7", 80}}, {{"203.0.113.7", 81}}), ElementsAre("203.0.113.7:81"));
  EXPECT_THAT(Dialled({{"203.0.113.7", 81}}, {{"203.0.113.7", 81}}), ElementsAre("203.0.113.7:81"));
  EXPECT_THAT(Dialled({{"2001:db8::7", 80}}), IsEmpty());
  EXPECT_THAT(Dialled({{"2001:0db8::7", 80}}, {{"2001:db8::7", 80}}), ElementsAre("[2001:db8::7]:80"));
}

TEST(CandidatesTest, PrivateOnesAreDialledAsThePeerTellsThem) {
  EXPECT_THAT(Dialled({{"10.0.0.7", 80}, {"100.64.0.1", 81}}), ElementsAre("10.0.0.7:80", "100.64.0.1:81"));
}

TEST(CandidatesTest, WhatNobodyMayDialIsNotDialledWhoeverTellsIt) {
  const std::vector<HostPort> harmful = {{"127.0.0.1", 80}, {"::1", 80},     {"169.254.169.254", 80},
                                         {"fe80::1", 80},   {"0.0.0.0", 80}, {"::", 80},
                                         {"224.0.0.1", 80}, {"ff02::1", 80}, {"255.255.255.255", 80},
                                         {"metadata", 80},  {"", 80},        {"::ffff:127.0.0.1", 80},
                                         {"10.0.0.1\n", 80}};
  EXPECT_THAT(Dialled(harmful), IsEmpty());
  EXPECT_THAT(Dialled({}, harmful), IsEmpty());
}

TEST(CandidatesTest, PortsAreNotZero) {
  EXPECT_THAT(Dialled({{"10.0.0.7", 0}}), IsEmpty());
  EXPECT_THAT(Dialled({}, {{"203.0.113.7", 0}}), IsEmpty());
}

TEST(CandidatesTest, NobodyDialsItself) {
  const std::vector<HostPort> own = {{"10.0.0.2", 4711}, {"203.0.113.7", 4711}};
  EXPECT_THAT(Dialled({{"10.0.0.2", 4711}, {"10.0.0.2", 4712}}, {{"203.0.113.7", 4711}}, own),
              ElementsAre("10.0.0.2:4712"));
}

TEST(CandidatesTest, LoopbackIsDialledWhereATestAsksForIt) {
  EXPECT_THAT(Dialled({{"127.0.0.1", 80}}, {{"127.0.0.1", 81}}, {}, true), ElementsAre("127.0.0.1:81", "127.0.0.1:80"));
}

TEST(CandidatesTest, WhoHasNoAddressOfAFamilyCannotSendToIt) {
  const std::vector<HostPort> v4 = {{"203.0.113.7", 80}};
  const std::vector<HostPort> v6 = {{"2001:db8::7", 80}};
  EXPECT_TRUE(MaySendToAny(v4, {{"10.0.0.2", 80}}));
  EXPECT_FALSE(MaySendToAny(v6, {{"10.0.0.2", 80}}));
  EXPECT_FALSE(MaySendToAny(v4, v6));
  EXPECT_TRUE(MaySendToAny(v6, {{"10.0.0.2", 80}, {"2001:db8::2", 80}}));
  EXPECT_FALSE(MaySendToAny({}, v4));
}

TEST(CandidatesTest, EachIsDialledOnce) {
  EXPECT_THAT(Dialled({{"10.0.0.7", 80}, {"10.0.0.7", 80}}, {{"10.0.0.7", 80}}), ElementsAre("10.0.0.7:80"));
}

TEST(CandidatesTest, ComeOutAsTheyWentIn) {
  const std::vector<HostPort> all = {{"10.0.0.7", 80}, {"2001:db8::7", 65535}};
  ByteWriter out;
  EncodeCandidates(all, &out);
  ByteReader in(out.bytes());
  const auto decoded = DecodeCandidates(&in);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_TRUE(in.done());
  EXPECT_EQ(Texts(*decoded), Texts(all));
  for (size_t size = 0; size < out.bytes().size(); ++size) {
    ByteReader cut(std::string_view(out.bytes()).substr(0, size));
    EXPECT_TRUE(DecodeCandidates(&cut).status().IsInvalid()) << size;
  }
}

TEST(CandidatesTest, TooManyAndTooLongOnesAreMalformed) {
  ByteReader many(std::string_view("\x09", 1));
  EXPECT_THAT(DecodeCandidates(&many).status().message(), HasSubstr("names 9 addresses"));
  ByteWriter out;
  EncodeCandidates({{std::string(65, '1'), 80}}, &out);
  ByteReader in(out.bytes());
  EXPECT_THAT(DecodeCandidates(&in).status().message(), HasSubstr("a host of 65 characters"));
}

}  // namespace
}  // namespace cylon::internal
