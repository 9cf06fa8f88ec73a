// Rows that lie together, in memory or in the rank's spill file.
#include <arrow/util/byte_size.h>

#include <mutex>

#include "cylon/table/batch_ipc.h"
#include "cylon/table/spill_file.h"
#include "cylon/table/table.h"

namespace cylon {

namespace {

// What `column` shows of its buffers, about.
int64_t ColumnBytes(const arrow::ArrayData& column) {
  auto referenced = arrow::util::ReferencedBufferSize(column);
  // Not known for every type (views).
  return referenced.ok() ? *referenced : arrow::util::TotalBufferSize(column);
}

}  // namespace

class Chunk::Impl {
 public:
  virtual ~Impl() = default;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  virtual int64_t num_rows() const = 0;
  virtual int64_t ColumnSize(int column) const = 0;
  virtual bool spilled() const = 0;
  virtual arrow::Result<std::shared_ptr<arrow::RecordBatch>> Pin() = 0;
  virtual arrow::Result<int64_t> Spill(bool force) = 0;
  /// Nobody else asks for it from now on.
  virtual void Leave() {}

  int64_t num_bytes() const {
    int64_t total = 0;
    for (int i = 0; i < schema()->num_fields(); ++i) {
      total += ColumnSize(i);
    }
    return total;
  }
};

/// A batch of its own. Once it is on disk it stays there: reading it back again costs less than writing it twice.
class Chunk::Store : public Chunk::Impl {
 public:
  Store(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::RecordBatch> batch)
      : resources_(std::move(resources)),
        schema_(batch->schema()),
        num_rows_(batch->num_rows()),
        batch_(std::move(batch)) {
    for (const auto& column : batch_->column_data()) {
      column_bytes_.push_back(ColumnBytes(*column));
    }
  }
  ~Store() override {
    if (file_ != nullptr) {
      file_->Free(place_);
    }
  }

  /// The budget may call `spillable` from now on.
  void Register(Spillable* spillable) {
    registered_ = spillable;
    resources_->memory()->Register(spillable);
  }
  /// Waits for a Spill that is under way on another thread.
  void Leave() override {
    if (registered_ != nullptr) {
      resources_->memory()->Unregister(registered_);
    }
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  int64_t num_rows() const override { return num_rows_; }
  int64_t ColumnSize(int column) const override { return column_bytes_[static_cast<size_t>(column)]; }
  bool spilled() const override {
    std::lock_guard<std::mutex> lock(mutex_);
    return file_ != nullptr;
  }
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> Pin() override;
  arrow::Result<int64_t> Spill(bool force) override;

 private:
  /// One IPC message within what was written.
  struct Extent {
    int64_t metadata, metadata_size, body, body_size;
  };

  arrow::Status Write();

  const std::shared_ptr<Resources> resources_;
  const std::shared_ptr<arrow::Schema> schema_;
  const int64_t num_rows_;
  std::vector<int64_t> column_bytes_;
  Spillable* registered_ = nullptr;

  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::weak_ptr<arrow::RecordBatch> read_back_;  // while somebody holds it
  std::shared_ptr<SpillFile> file_;              // nullptr: in memory
  std::vector<Extent> extents_;
  int64_t place_ = 0;
  int64_t written_ = 0;
};

arrow::Status Chunk::Store::Write() {
  // Not out of the budget, which is what ran short.
  arrow::MemoryPool* reserve = arrow::default_memory_pool();
  std::vector<std::shared_ptr<arrow::Buffer>> parts;
  std::vector<Extent> extents;
  int64_t size = 0;
  auto add = [&](const std::shared_ptr<arrow::Buffer>& part) {
    constexpr int64_t kAlignment = BatchPayload::kBodyAlignment;
    const int64_t begin = (size + kAlignment - 1) / kAlignment * kAlignment;
    size = begin + part->size();
    parts.push_back(part);
    return begin;
  };
  BatchEncoder encoder(schema_, reserve, [&](BatchPayload payload) {
    Extent extent{add(payload.metadata), payload.metadata->size(), 0, payload.body_length};
    for (size_t i = 0; i < payload.body.size(); ++i) {
      const int64_t begin = add(payload.body[i]);
      if (i == 0) {
        extent.body = begin;
      }
    }
    extents.push_back(extent);
    return arrow::Status::OK();
  });
  ARROW_RETURN_NOT_OK(encoder.Write(*batch_));
  ARROW_ASSIGN_OR_RAISE(auto file, SpillFile::Of(*resources_));
  ARROW_ASSIGN_OR_RAISE(place_, file->Write(parts));
  file_ = std::move(file);
  extents_ = std::move(extents);
  written_ = size;
  return arrow::Status::OK();
}

arrow::Result<int64_t> Chunk::Store::Spill(bool force) {
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || file_ != nullptr) {
    return 0;
  }
  // One reference is this chunk's own. Others come only from Pin, which needs the lock.
  if (!force && batch_.use_count() > 1) {
    return 0;
  }
  ARROW_RETURN_NOT_OK(Write());
  batch_.reset();
  Leave();  // nothing more to free: the budget need not ask again
  return num_bytes();
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> Chunk::Store::Pin() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (file_ == nullptr) {
    return batch_;
  }
  if (auto batch = read_back_.lock()) {
    return batch;
  }
  arrow::MemoryPool* pool = resources_->memory();
  ARROW_ASSIGN_OR_RAISE(auto bytes, file_->Read(place_, written_, pool));
  BatchDecoder decoder(schema_, pool);
  std::shared_ptr<arrow::RecordBatch> batch;
  for (const Extent& extent : extents_) {
    ARROW_ASSIGN_OR_RAISE(batch, decoder.Take(arrow::SliceBuffer(bytes, extent.metadata, extent.metadata_size),
                                              arrow::SliceBuffer(bytes, extent.body, extent.body_size)));
  }
  if (batch == nullptr || batch->num_rows() != num_rows_) {
    return arrow::Status::IOError("the spill file in ", file_->directory(), " gave back ", written_,
                                  " bytes that hold no batch of ", num_rows_,
                                  " rows; expected what was written; check the disk, or set CYLON_SPILL_DIR");
  }
  read_back_ = batch;
  return batch;
}

/// A part of another chunk.
class Chunk::Window : public Chunk::Impl {
 public:
  Window(std::shared_ptr<Chunk> base, std::vector<int> columns, std::shared_ptr<arrow::Schema> schema, int64_t offset,
         int64_t length)
      : base(std::move(base)),
        columns(std::move(columns)),
        offset(offset),
        schema_(std::move(schema)),
        length_(length) {}

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  int64_t num_rows() const override { return length_; }
  int64_t ColumnSize(int column) const override {
    const auto whole = static_cast<double>(base->impl_->ColumnSize(columns[static_cast<size_t>(column)]));
    const auto rows = static_cast<double>(std::max<int64_t>(1, base->num_rows()));
    return static_cast<int64_t>(whole * static_cast<double>(length_) / rows);
  }
  bool spilled() const override { return base->spilled(); }
  arrow::Result<int64_t> Spill(bool force) override { return base->impl_->Spill(force); }

  arrow::Result<std::shared_ptr<arrow::RecordBatch>> Pin() override {
    ARROW_ASSIGN_OR_RAISE(auto whole, base->Pin());
    std::vector<std::shared_ptr<arrow::ArrayData>> data;
    data.reserve(columns.size());
    const bool all = offset == 0 && length_ == whole->num_rows();
    for (const int column : columns) {
      data.push_back(all ? whole->column_data(column) : whole->column_data(column)->Slice(offset, length_));
    }
    // The whole stays pinned while the part is held.
    struct Held {
      std::shared_ptr<arrow::RecordBatch> whole, part;
    };
    auto held =
        std::make_shared<Held>(Held{std::move(whole), arrow::RecordBatch::Make(schema_, length_, std::move(data))});
    return std::shared_ptr<arrow::RecordBatch>(held, held->part.get());
  }

  const std::shared_ptr<Chunk> base;
  const std::vector<int> columns;
  const int64_t offset;

 private:
  const std::shared_ptr<arrow::Schema> schema_;
  const int64_t length_;
};

arrow::Result<std::shared_ptr<Chunk>> Chunk::Make(std::shared_ptr<Resources> resources,
                                                  std::shared_ptr<arrow::RecordBatch> batch, bool owned) {
  const bool spill_now = resources->options().spill_always;
  auto store = std::make_unique<Store>(std::move(resources), std::move(batch));
  Store* raw = store.get();
  std::shared_ptr<Chunk> chunk(std::unique_ptr<Chunk>(new Chunk(std::move(store))));
  if (spill_now) {
    ARROW_RETURN_NOT_OK(raw->Spill(/*force=*/true));
  } else if (owned) {
    raw->Register(chunk.get());
  }
  return chunk;
}

std::shared_ptr<Chunk> Chunk::View(const std::shared_ptr<Chunk>& chunk, const std::vector<int>& columns,
                                   std::shared_ptr<arrow::Schema> schema, int64_t offset, int64_t length) {
  std::shared_ptr<Chunk> base = chunk;
  std::vector<int> of_base = columns;
  // A view of a view looks through it.
  if (const auto* window = dynamic_cast<const Window*>(chunk->impl_.get())) {
    base = window->base;
    for (int& column : of_base) {
      column = window->columns[static_cast<size_t>(column)];
    }
    offset += window->offset;
  }
  auto impl = std::make_unique<Window>(std::move(base), std::move(of_base), std::move(schema), offset, length);
  return std::shared_ptr<Chunk>(std::unique_ptr<Chunk>(new Chunk(std::move(impl))));
}

Chunk::Chunk(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)), num_rows_(impl_->num_rows()), num_bytes_(impl_->num_bytes()) {}

Chunk::~Chunk() { impl_->Leave(); }

const std::shared_ptr<arrow::Schema>& Chunk::schema() const { return impl_->schema(); }
bool Chunk::spilled() const { return impl_->spilled(); }
arrow::Result<std::shared_ptr<arrow::RecordBatch>> Chunk::Pin() { return impl_->Pin(); }
arrow::Result<int64_t> Chunk::Spill() { return impl_->Spill(/*force=*/false); }

}  // namespace cylon
