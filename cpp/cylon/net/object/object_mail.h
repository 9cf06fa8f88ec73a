/// One rank's end of a world whose messages go through an object store.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/bootstrap/nap.h"
#include "cylon/net/mail/mail.h"
#include "cylon/net/object/object_names.h"
#include "cylon/net/object/object_presence.h"
#include "cylon/net/object/object_store.h"

namespace cylon::internal {

/// Every entry of an outbox is an object, which the peer asks for by its name until it is there, reads and deletes.
/// Whoever closes puts its goodbyes first and looks then, once more, for what came: of two that close, one finds the
/// other's goodbye. What a peer that has left did not read, its sender deletes.
class ObjectMail final : public Mail {
 public:
  ObjectMail(Executor& executor, World world, Duration timeout);

  /// Names, seals and threads; nothing is asked of the store yet.
  arrow::Status Prepare(const ObjectPlace& place, const std::string& secret);

  arrow::Future<> Start(Sink* sink) override;

 private:
  /// A peer's entry that was asked for.
  struct Asked {
    arrow::Future<std::shared_ptr<arrow::Buffer>> object;
    bool early;  // before the one ahead of it was there
    bool last;   // after the goodbye to that peer
    TimePoint when;
  };

  std::shared_ptr<ObjectMail> Shared() { return std::static_pointer_cast<ObjectMail>(shared_from_this()); }
  Nap& nap(Rank rank) { return naps_[static_cast<size_t>(rank)]; }

  // Out.
  MailEnvelope EnvelopeTo(Rank to) const override;
  void Pump() override;
  static Co<void> Put(std::shared_ptr<ObjectMail> self, Rank to, Outbox::Entry entry);

  // In.
  static Co<void> ReadLoop(std::shared_ptr<ObjectMail> self, Rank from);
  Asked Ask(Rank from, uint64_t number);
  void Delete(const std::string& name);

  // Ends.
  void Heard(Rank rank) override { presence_->Heard(rank); }
  void Forget(Rank rank) override;
  void GiveUp() override { presence_->GiveUp(); }
  void CloseWays() override;
  void EndSoon();
  static Co<void> CleanUp(std::shared_ptr<ObjectMail> self);
  static Co<void> KeepLease(std::shared_ptr<ObjectMail> self);

  const Duration longest_nap_;
  std::shared_ptr<const ObjectNames> names_;
  std::shared_ptr<ObjectStore> store_;
  std::shared_ptr<ObjectPresence> presence_;
  std::vector<Nap> naps_;  // of who reads, by peer
  Nap lease_;
  SendTracker under_way_;  // puts and deletions
  /// Put more than once, to whom and which: may be there again after they were read and deleted.
  std::vector<std::pair<Rank, uint64_t>> repeated_;
  int reading_ = 0;  // peers from which something may come
  bool put_end_ = false;
  bool ending_ = false;
};

}  // namespace cylon::internal
