/// What a store server keeps and says, apart from how clients come to it.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/key_values.h"
#include "cylon/bootstrap/store_protocol.h"

namespace cylon {

/// One store in memory, and a session for each connection of a client. Belongs to tasks.
class StoreSessions : public std::enable_shared_from_this<StoreSessions> {
 public:
  using OnSet = std::function<void(const std::string& key)>;
  /// `life` is what this store is told from others by: kStoreNonceBytes that nobody else has drawn. `most_bytes`: of
  /// all keys and values together; `total`, where there is one, counts those of all stores that share it. `on_set` is
  /// told of each key that a client sets.
  StoreSessions(Executor& executor, std::string life, size_t most_bytes = kMaxStoreBytes,
                std::shared_ptr<size_t> total = nullptr, OnSet on_set = {})
      : executor_(executor),
        life_(std::move(life)),
        on_set_(std::move(on_set)),
        values_(most_bytes, std::move(total)) {}

  /// Answers over `stream`, whose other end is proven, until either side ends it. CapacityError is told where `places`
  /// clients have a connection already.
  static Co<void> Serve(std::shared_ptr<StoreSessions> self, std::unique_ptr<Stream> stream, size_t places = SIZE_MAX);
  size_t connections() const { return sessions_.size(); }
  /// Nobody is connected or may come back for an answer, and nothing is kept.
  bool Empty();
  /// As a client's, from inside the server's process.
  void SetIfAbsent(const std::string& key, const std::string& value, Duration time_to_live);
  /// Ends all connections; later ones end at once.
  void Close();

 private:
  struct Memory;
  struct Session;

  static Co<void> Converse(std::shared_ptr<StoreSessions> self, std::shared_ptr<Session> session, size_t places);
  arrow::Status Greet(Session& session, const std::string& client, size_t places);
  void Part(Session& session);
  arrow::Status Handle(const std::shared_ptr<Session>& session, const std::string& frame);
  arrow::Result<std::string> Count(StoreOp op, const std::string& key, const std::string& rest, Duration time_to_live);
  void Wait(const std::shared_ptr<Session>& session, uint64_t id, const std::string& key);

  Executor& executor_;
  const std::string life_;
  const OnSet on_set_;  // or none
  KeyValues values_;
  std::unordered_map<std::string, std::shared_ptr<Memory>> memories_;  // by client
  std::list<std::shared_ptr<Session>> sessions_;
  size_t connected_ = 0;  // clients that have a session
  bool closed_ = false;
};

}  // namespace cylon
