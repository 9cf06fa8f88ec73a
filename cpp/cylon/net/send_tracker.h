/// Sends that have not finished, and who waits for them.
#pragma once

#include <arrow/util/future.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "cylon/base/error.h"

namespace cylon::internal {

/// Belongs to one rank's tasks. Finishing a future runs its callbacks, which may come back here: every function is done
/// with its own state before it finishes the first one.
class SendTracker {
 public:
  struct Sent {
    uint64_t id;
    arrow::Future<> done;
  };

  Sent Add(Rank to) {
    Sent sent{next_id_++, arrow::Future<>::Make()};
    open_.emplace(sent.id, Open{to, sent.done});
    return sent;
  }

  /// Does nothing where the send has failed already.
  void Finish(uint64_t id, const arrow::Status& status) {
    auto found = open_.find(id);
    if (found == open_.end()) {
      return;
    }
    std::vector<arrow::Future<>> flushed;
    auto done = std::move(found->second.done);
    open_.erase(found);
    Settle(id, &flushed);
    done.MarkFinished(status);
    for (auto& flush : flushed) {
      flush.MarkFinished();
    }
  }

  /// Fails what was sent to `to`.
  void FailPeer(Rank to, const arrow::Status& status) {
    FailWhere([to](Rank rank) { return rank == to; }, status);
  }
  void FailAll(const arrow::Status& status) {
    FailWhere([](Rank) { return true; }, status);
  }

  /// Finishes (always OK) when what is open now has finished or failed.
  arrow::Future<> Flush() {
    if (open_.empty()) {
      return arrow::Future<>::MakeFinished();
    }
    flushes_.push_back({next_id_, open_.size(), arrow::Future<>::Make()});
    return flushes_.back().done;
  }

 private:
  struct Open {
    Rank to;
    arrow::Future<> done;
  };
  struct Waiting {
    uint64_t below;
    size_t left;
    arrow::Future<> done;
  };

  void Settle(uint64_t id, std::vector<arrow::Future<>>* flushed) {
    for (auto waiting = flushes_.begin(); waiting != flushes_.end();) {
      if (id < waiting->below && --waiting->left == 0) {
        flushed->push_back(std::move(waiting->done));
        waiting = flushes_.erase(waiting);
      } else {
        ++waiting;
      }
    }
  }

  template <typename Which>
  void FailWhere(Which which, const arrow::Status& status) {
    std::vector<arrow::Future<>> failed;
    std::vector<arrow::Future<>> flushed;
    for (auto open = open_.begin(); open != open_.end();) {
      if (which(open->second.to)) {
        failed.push_back(std::move(open->second.done));
        Settle(open->first, &flushed);
        open = open_.erase(open);
      } else {
        ++open;
      }
    }
    for (auto& done : failed) {
      done.MarkFinished(status);
    }
    for (auto& done : flushed) {
      done.MarkFinished();
    }
  }

  uint64_t next_id_ = 0;
  std::map<uint64_t, Open> open_;  // by id: failures come in the order of the sends
  std::vector<Waiting> flushes_;
};

}  // namespace cylon::internal
