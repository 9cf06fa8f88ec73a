// Objects: their names and contents, calls that fail, and what is left by crashes.
#include "cylon/net/object/object_store.h"

#include <atomic>
#include <fstream>

#include "cylon/net/object/object_lease.h"
#include "cylon/net/object/object_presence.h"
#include "cylon/net/object/testing/object_world.h"

namespace cylon::testing {
namespace {

using internal::BlockingThreads;
using internal::DecodeObjectBeat;
using internal::EncodeObjectBeat;
using internal::ObjectContents;
using internal::ObjectNames;
using internal::ObjectStore;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

TEST(ObjectContentsTest, LengthsThatCannotBeAreRefused) {
  const std::string three("\x03\0\0\0\0\0\0\0abcdef", 14);
  EXPECT_EQ(ObjectContents(three, 3), "abc");
  EXPECT_EQ(ObjectContents(three, 2), "");
  EXPECT_EQ(ObjectContents(std::string_view(three).substr(0, 10), 3), "");
  EXPECT_EQ(ObjectContents(std::string(8, '\xff') + "abc", 3), "");
  EXPECT_EQ(ObjectContents("abc", 3), "");
  EXPECT_EQ(ObjectContents("", 3), "");
}

TEST(ObjectBeatTest, ReadsWhatWasWrittenAndNothingElse) {
  const auto beat = DecodeObjectBeat(EncodeObjectBeat({7, {0, 18446744073709551615U, 3}}), 3);
  ASSERT_TRUE(beat.has_value());
  EXPECT_EQ(beat->count, 7U);
  EXPECT_EQ(beat->stored, (std::vector<uint64_t>{0, 18446744073709551615U, 3}));
  for (const auto* text :
       {"", " ", "7 0 0", "7 0 0 0 0", "7 0 0 0 ", " 7 0 0 0", "7 0 -1 0", "7 0 18446744073709551616 0", "gave up"}) {
    EXPECT_FALSE(DecodeObjectBeat(text, 3).has_value()) << text;
  }
}

World TwoRanks(const std::string& job, const std::string& epoch) {
  World world;
  world.job = job;
  world.epoch = epoch;
  for (int rank = 0; rank < 2; ++rank) {
    world.cards.push_back({"localhost", 0, ObjectCardAddress().ValueOrDie()});
  }
  return world;
}

TEST(ObjectNamesTest, AreThoseOfNoOtherJobRunPairOrProcess) {
  std::set<std::string> seen;
  size_t count = 0;
  for (const auto& [job, epoch] : {std::pair("a", "b"), {"a", "b!c"}, {"a!b", "c"}, {"a/b", "c"}, {"a", "b"}}) {
    const ObjectNames names(TwoRanks(job, epoch));
    for (const auto& name :
         {names.Entry(0, 1, 1), names.Entry(1, 0, 1), names.Entry(0, 1, 11), names.Beat(0), names.Beat(1)}) {
      seen.insert(name);
      ++count;
      EXPECT_EQ(name.find('/'), std::string::npos);
      EXPECT_EQ(names.EpochOf(name), names.epoch());
    }
  }
  EXPECT_EQ(seen.size(), count);
  const ObjectNames names(TwoRanks("job", "1"));
  EXPECT_FALSE(names.EpochOf("jobs!1!0.1!alive").has_value());
  EXPECT_FALSE(names.EpochOf("job").has_value());
  EXPECT_FALSE(names.EpochOf("job!1").has_value());
  EXPECT_EQ(names.EpochOf("job!2!whatever"), "2");
}

TEST(ObjectPlaceTest, NamesStoresAndSaysWhatIsWrongWithoutKeys) {
  EXPECT_EQ(OpenObjectPlace("file:///shared/there")->folder, "/shared/there");
  const auto s3 = OpenObjectPlace("s3://me:se%2Fcret@bucket/runs?region=eu-west-1&endpoint_override=localhost:1");
  ASSERT_TRUE(s3.ok()) << s3.status();
  EXPECT_EQ(s3->folder, "bucket/runs");
  EXPECT_EQ(s3->name, "s3://bucket/runs");
  EXPECT_EQ(s3->file_system->type_name(), "s3");
  for (const auto& [uri, what] : {std::pair("", "is not named"),
                                  {"ftp://me:secret@host", "neither s3:// nor file:///"},
                                  {"s3://me:secret@bucket?colour=red", "cannot be opened"}}) {
    const auto status = OpenObjectPlace(uri).status();
    EXPECT_TRUE(status.IsInvalid()) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(what), HasSubstr("CYLON_OBJECT_STORE"), Not(HasSubstr("secret"))));
  }
}

TEST(BlockingThreadsTest, RunAtOnceWhatTheyMayAndFinishWhatIsQueued) {
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  std::atomic<int> done = 0;
  {
    BlockingThreads threads(3);
    for (int i = 0; i < 200; ++i) {
      threads.Queue([&] {
        const int now = ++running;
        int before = most;
        while (before < now && !most.compare_exchange_weak(before, now)) {
        }
        std::this_thread::yield();
        --running;
        ++done;
      });
    }
  }
  EXPECT_EQ(done, 200);
  EXPECT_LE(most, 3);
}

class ObjectStoreTest : public ::testing::Test {
 protected:
  std::shared_ptr<ObjectStore> Make(Duration patience) {
    return std::make_shared<ObjectStore>(world_.executor(0), world_.place, ObjectStore::Width{2, 2, 2}, patience);
  }
  /// Asks in a task, and waits.
  template <typename F>
  auto Ask(F function) {
    decltype(function()) future;
    EXPECT_TRUE(world_.executor(0)
                    .RunTask([&] {
                      future = function();
                      return arrow::Status::OK();
                    })
                    .ok());
    return world_.executor(0).Await(future);
  }
  static std::shared_ptr<const std::string> Text(const std::string& text) {
    return std::make_shared<const std::string>(text);
  }
  void TearDown() override {
    EXPECT_TRUE(world_.executor(0)
                    .RunTask([this] {
                      store_.reset();
                      return arrow::Status::OK();
                    })
                    .ok());
  }

  ObjectConformanceWorld world_{1};
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(ObjectStoreTest, PutsGetsListsAndDeletes) {
  store_ = Make(5s);
  EXPECT_TRUE(Ask([&] { return store_->Get("a", 10); }).status().IsKeyError());
  EXPECT_EQ(*Ask([&] { return store_->Put("a", Text("hello")); }), 1);
  EXPECT_EQ((*Ask([&] { return store_->Get("a", 10); }))->ToString(), "hello");
  EXPECT_EQ((*Ask([&] { return store_->Get("a", 4); }))->ToString(), "");
  EXPECT_EQ(*Ask([&] { return store_->Put("a", Text("")); }), 1);
  EXPECT_EQ((*Ask([&] { return store_->Get("a", 10); }))->ToString(), "");
  EXPECT_EQ(Ask([&] { return store_->List(); })->size(), 1U);
  EXPECT_EQ(world_.Objects(), std::set<std::string>{"a"});
  EXPECT_TRUE(Ask([&] { return store_->Delete("a"); }).ok());
  EXPECT_TRUE(Ask([&] { return store_->Delete("a"); }).ok());
  EXPECT_EQ(world_.Objects(), std::set<std::string>{});
}

TEST_F(ObjectStoreTest, WhatIsBusyIsAskedAgain) {
  store_ = Make(100s);
  std::atomic<int> left = 3;
  world_.store->SetFault([&](const std::string&, const std::string&) {
    return left-- > 0 ? FaultyStore::SlowDown() : arrow::Status::OK();
  });
  EXPECT_EQ(*Ask([&] { return store_->Put("a", Text("hello")); }), 4);
  left = 2;
  EXPECT_EQ((*Ask([&] { return store_->Get("a", 10); }))->ToString(), "hello");
  left = 1;
  EXPECT_EQ(*Ask([&] { return store_->Delete("a"); }), 2);
}

TEST_F(ObjectStoreTest, WhatStaysBusyIsAnErrorThatNamesStoreAndCall) {
  store_ = Make(100ms);
  world_.store->SetFault([](const std::string&, const std::string&) { return FaultyStore::SlowDown(); });
  for (const auto& [status, what] :
       {std::pair(Ask([&] { return store_->Put("a", Text("hello")); }).status(), "putting 'a'"),
        {Ask([&] { return store_->Get("a", 10); }).status(), "reading 'a'"},
        {Ask([&] { return store_->Delete("a"); }).status(), "deleting 'a'"},
        {Ask([&] { return store_->List(); }).status(), "listing its objects"}}) {
    EXPECT_TRUE(status.IsIOError()) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("the object store file:///"), HasSubstr(what), HasSubstr("in 100 ms"),
                                        HasSubstr("SLOW_DOWN"), HasSubstr("start the job again")));
  }
}

TEST_F(ObjectStoreTest, WhatWillNotPassIsToldAtOnceWithWhatToDo) {
  store_ = Make(1h);
  for (const auto& [error, advice] : {std::pair("NO_SUCH_BUCKET", "create the bucket"),
                                      {"ACCESS_DENIED", "s3:ListBucket"},
                                      {"INVALID_ACCESS_KEY_ID", "credentials"}}) {
    world_.store->SetFault([error = error](const std::string&, const std::string&) {
      return arrow::Status::IOError("AWS Error ", error, " during PutObject operation: no");
    });
    const auto status = Ask([&] { return store_->Put("a", Text("hello")); }).status();
    EXPECT_THAT(status.message(), AllOf(HasSubstr("refused putting 'a'"), HasSubstr(error), HasSubstr(advice)));
  }
  world_.store->SetFault(nullptr);
  std::filesystem::remove_all(world_.folder());
  EXPECT_THAT(Ask([&] { return store_->Put("a", Text("hello")); }).status().message(),
              HasSubstr("create that folder, where every rank sees it"));
}

TEST_F(ObjectStoreTest, StoppingEndsWhatIsUnderWay) {
  store_ = Make(1h);
  world_.store->SetFault([](const std::string&, const std::string&) { return FaultyStore::SlowDown(); });
  arrow::Future<int> put;
  ASSERT_TRUE(world_.executor(0)
                  .RunTask([&] {
                    put = store_->Put("a", Text("hello"));
                    return arrow::Status::OK();
                  })
                  .ok());
  EXPECT_FALSE(put.is_finished());
  ASSERT_TRUE(world_.executor(0)
                  .RunTask([&] {
                    store_->Stop();
                    EXPECT_TRUE(put.is_finished());
                    return arrow::Status::OK();
                  })
                  .ok());
  EXPECT_TRUE(put.status().IsCancelled());
  EXPECT_TRUE(Ask([&] { return store_->Get("a", 10); }).status().IsCancelled());
}

TEST_F(ObjectStoreTest, WhatACrashLeftIsDeletedOnceItsLeaseHasRunOut) {
  store_ = Make(5s);
  const auto own = std::make_shared<const ObjectNames>(TwoRanks("job", "3"));
  const ObjectNames dead(TwoRanks("job", "1"));
  const ObjectNames lives(TwoRanks("job", "2"));
  const ObjectNames another(TwoRanks("another", "1"));
  const auto put = [&](const std::string& name, Duration age) {
    EXPECT_TRUE(Ask([&] { return store_->Put(name, Text("x")); }).ok());
    std::filesystem::last_write_time(world_.folder() / name, std::filesystem::file_time_type::clock::now() - age);
  };
  for (const auto& name : {dead.Beat(0), dead.Entry(0, 1, 5), another.Beat(0)}) {
    put(name, 10min);
  }
  put(lives.Entry(0, 1, 1), 10min);  // not read yet
  put(lives.Beat(1), 1min);
  const auto sweep = [&] {
    return Ask([&] { return Spawn(world_.executor(0), internal::DeleteExpired(store_, own, 2min)); });
  };
  // Without a beat of its own, this run does not know what time it is.
  EXPECT_TRUE(sweep().ok());
  EXPECT_EQ(world_.Objects(true).size(), 5U);
  put(own->Beat(0), 0s);
  EXPECT_TRUE(sweep().ok());
  EXPECT_EQ(world_.Objects(true),
            (std::set<std::string>{another.Beat(0), lives.Beat(1), lives.Entry(0, 1, 1), own->Beat(0)}));
}

}  // namespace
}  // namespace cylon::testing
