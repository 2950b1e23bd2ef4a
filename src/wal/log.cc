#include "wal/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"
#include "codec/wire.h"

namespace etcd::wal {
namespace {

constexpr std::uint64_t kScanBytes = 1 << 18;      // a whole segment is read in steps of this size,
constexpr std::uint64_t kLookUpBytes = 1 << 14;    // and single entries in steps of this one
constexpr std::uint64_t kRecordHeadBytesMax = 40;  // type, crc and the data's length, each with its tag

std::string segment_name(std::uint64_t sequence, Index first) {
  return fmt::format("{:016x}-{:016x}.wal", sequence, first.value);
}

struct SegmentName {
  std::uint64_t sequence;
  Index first;
};

std::optional<SegmentName> parse_segment_name(const std::string& name) {
  if (name.size() != 37 || !name.ends_with(".wal") || name[16] != '-') return std::nullopt;
  SegmentName parsed{};
  const auto parse = [&](std::size_t at, std::uint64_t& number) {
    const char* const end = name.data() + at + 16;
    return std::from_chars(name.data() + at, end, number, 16) == std::from_chars_result{end, std::errc{}};
  };
  if (!parse(0, parsed.sequence) || !parse(17, parsed.first.value)) return std::nullopt;
  return parsed;
}

Result<std::vector<SegmentName>> list_segments(const io::Directory& directory) {
  ETCD_TRY(const std::vector<std::string> names, directory.list());
  std::vector<SegmentName> segments;
  for (const std::string& name : names) {
    if (const auto parsed = parse_segment_name(name)) segments.push_back(*parsed);
  }
  return segments;  // list() is in byte order, which for fixed-width hex is the order of the numbers
}

/// Reads a file from front to back through a window.
class FileWindow {
 public:
  FileWindow(const io::File& file, std::uint64_t size, std::uint64_t step) : file_(file), size_(size), step_(step) {}

  /// The bytes [offset, offset + count), fewer only at the end of the file. Lives until the next call.
  Result<BytesView> at(std::uint64_t offset, std::uint64_t count) {
    count = std::min(count, size_ > offset ? size_ - offset : 0);
    if (offset < begin_ || offset + count > begin_ + window_.size()) {
      ETCD_TRY(window_, file_.read_at(offset, std::max(count, step_)));
      begin_ = offset;
    }
    return BytesView(window_).substr(offset - begin_, count);
  }

 private:
  const io::File& file_;
  const std::uint64_t size_;
  const std::uint64_t step_;
  std::uint64_t begin_ = 0;
  Bytes window_;
};

/// True when a write of these bytes may have been cut by a crash: some whole sector of it never arrived and still reads
/// as the zeros that were there before.
bool looks_torn(std::uint64_t offset, BytesView bytes) {
  while (!bytes.empty()) {
    const std::size_t step = std::min<std::size_t>(kSectorBytes - offset % kSectorBytes, bytes.size());
    if (bytes.substr(0, step).find_first_not_of('\0') == BytesView::npos) return true;
    bytes.remove_prefix(step);
    offset += step;
  }
  return false;
}

}  // namespace

/// Makes the next segment's file ahead of use: named N.tmp, full of zeros and synced, so that later syncs change no
/// size.
class Log::Pipeline {
 public:
  Pipeline(io::Directory& directory, std::uint64_t bytes, io::Executor* background)
      : shared_(std::make_shared<Shared>()), directory_(directory), bytes_(bytes), background_(background) {}

  ~Pipeline() {
    const std::scoped_lock lock(shared_->mu);
    shared_->dropped = true;
  }

  /// Starts making the next one in the background, unless that has been done.
  void prepare() {
    if (background_ == nullptr || preparing_) return;
    preparing_ = true;
    background_->post(
        [shared = shared_, &directory = directory_, name = next_name(), bytes = bytes_, background = background_] {
          const std::scoped_lock lock(shared->mu);
          if (shared->dropped) return;
          static_cast<void>(directory.remove(name));
          auto file = directory.create(name);
          if (!file || !(*file)->lock()) return;  // the cut will make its own and report what is wrong
          shared->filling = *std::move(file);
          shared->name = name;
          background->post([shared, bytes, background] { fill(shared, 0, bytes, *background); });
        });
  }

  struct Made {
    std::unique_ptr<io::File> file;
    std::string name;
    std::uint64_t prewritten = 0;
  };

  /// The file that was made, or a fresh empty one.
  Result<Made> take() {
    const std::scoped_lock lock(shared_->mu);
    preparing_ = false;
    shared_->filling.reset();  // not ready in time: the cut does not wait
    if (shared_->file) return Made{std::move(shared_->file), shared_->name, bytes_};
    Made made;
    made.name = next_name();
    if (auto removed = directory_.remove(made.name); !removed && removed.error().code != ErrorCode::kNotFound) {
      return std::unexpected(removed.error());
    }
    ETCD_TRY(made.file, directory_.create(made.name));
    ETCD_TRY_VOID(made.file->lock());
    return made;
  }

 private:
  struct Shared {
    std::mutex mu;  // guards all below; held for one step of filling at a time
    bool dropped = false;
    std::unique_ptr<io::File> filling;
    std::unique_ptr<io::File> file;  // full and synced
    std::string name;                // of either
  };

  /// One step: small and synced by itself, so that the log's own syncs never wait behind 64 MB of zeros.
  static void fill(const std::shared_ptr<Shared>& shared, std::uint64_t at, std::uint64_t bytes,
                   io::Executor& background) {
    constexpr std::uint64_t kStepBytes = 1 << 20;
    const std::scoped_lock lock(shared->mu);
    if (shared->dropped || !shared->filling) return;
    const std::uint64_t count = std::min(kStepBytes, bytes - at);
    if (!shared->filling->write_at(at, Bytes(count, '\0')) || !shared->filling->sync()) {
      shared->filling.reset();
      return;
    }
    if (at + count == bytes) {
      shared->file = std::move(shared->filling);
      return;
    }
    background.post([shared, at = at + count, bytes, &background] { fill(shared, at, bytes, background); });
  }

  std::string next_name() { return fmt::format("{}.tmp", turn_++ % 2); }

  std::shared_ptr<Shared> shared_;  // shared with the task in the background, which may outlive the log
  io::Directory& directory_;
  const std::uint64_t bytes_;
  io::Executor* const background_;
  std::uint64_t turn_ = 0;
  bool preparing_ = false;
};

Log::Log(io::Directory& directory, Bytes metadata, LogOptions options, io::Executor* background)
    : directory_(directory),
      metadata_(std::move(metadata)),
      options_(options),
      pipeline_(std::make_unique<Pipeline>(directory, options.segment_bytes, background)) {}

Log::~Log() = default;

Result<bool> Log::exists(const io::Directory& directory) {
  ETCD_TRY(const std::vector<SegmentName> segments, list_segments(directory));
  return !segments.empty();
}

Result<std::unique_ptr<Log>> Log::create(io::Directory& directory, BytesView metadata, LogOptions options,
                                         io::Executor* background, std::span<const EntryRecord> entries,
                                         BytesView state) {
  ETCD_TRY(const bool there, exists(directory));
  if (there) return failure(ErrorCode::kAlreadyExists, fmt::format("{}: holds a log already", directory.path()));
  std::unique_ptr<Log> log(new Log(directory, Bytes(metadata), options, background));
  log->append_head();
  // As upstream: the state before anything is a snapshot record at index 0, term 0.
  append_frame(log->buffer_, RecordType::kSnapshot, BytesView("\x08\x00\x10\x00", 4), log->running_crc_);
  for (const EntryRecord& entry : entries) {
    ETCD_TRY_VOID(log->place_entry(entry.index, Location{0, log->running_crc_, log->buffer_.size()}));
    append_frame(log->buffer_, RecordType::kEntry, entry.data, log->running_crc_);
  }
  if (!state.empty()) ETCD_TRY_VOID(log->append_state(state));
  ETCD_TRY_VOID(log->start_segment(0, Index{0}));
  return log;
}

Result<Log::Opened> Log::open(io::Directory& directory, Index from_entry, Index keep_after, LogOptions options,
                              io::Executor* background) {
  ETCD_TRY(std::vector<SegmentName> names, list_segments(directory));
  if (names.empty()) return failure(ErrorCode::kNotFound, fmt::format("{}: holds no log", directory.path()));
  std::size_t from = 0;
  for (std::size_t place = 0; place < names.size(); ++place) {
    if (names[place].first <= from_entry) from = place;
  }
  // Every segment is locked, the older ones too: two processes must not purge and read at once.
  std::deque<Segment> segments;
  for (std::size_t place = 0; place < names.size(); ++place) {
    if (place > 0 && names[place].sequence != names[place - 1].sequence + 1) {
      return failure(ErrorCode::kCorrupt,
                     fmt::format("{}: segment {:x} is missing", directory.path(), names[place - 1].sequence + 1));
    }
    Segment segment{names[place].sequence, names[place].first, nullptr};
    ETCD_TRY(segment.file, directory.open(segment_name(segment.sequence, segment.first)));
    ETCD_TRY_VOID(segment.file->lock());
    segments.push_back(std::move(segment));
  }

  Opened opened;
  Recovered& recovered = opened.recovered;
  ETCD_TRY(const Bytes metadata, [&]() -> Result<Bytes> {
    // The metadata record is the second of every segment; it is checked again with its checksum on the way below.
    ETCD_TRY(const Bytes head, segments[from].file->read_at(0, 4096));
    BytesView left = head;
    while (left.size() >= kLengthBytes) {
      const auto length = decode_length(left);
      if (!length || length->record_bytes == 0 || length->frame_bytes() > left.size()) break;
      const auto record = decode_record(left.substr(kLengthBytes, length->record_bytes));
      if (record && record->type == static_cast<std::uint64_t>(RecordType::kMetadata)) return Bytes(record->data);
      left.remove_prefix(length->frame_bytes());
    }
    return failure(ErrorCode::kCorrupt, fmt::format("{}: no metadata record", segments[from].file->name()));
  }());
  opened.log.reset(new Log(directory, metadata, options, background));
  Log& log = *opened.log;
  recovered.metadata = metadata;
  log.segments_ = std::move(segments);
  log.first_ = std::max(names[from].first, Index{1});
  for (std::size_t place = from; place < log.segments_.size(); ++place) {
    ETCD_TRY_VOID(log.scan_segment(log.segments_[place], place + 1 == log.segments_.size(), keep_after, recovered));
  }

  // Whatever lies behind the last record is not ours: a crash may have left sectors of a later write there.
  io::File& newest = *log.segments_.back().file;
  ETCD_TRY(const std::uint64_t size, newest.size());
  if (size > log.written_) ETCD_TRY_VOID(newest.truncate(log.written_));
  // A killed process leaves records that only the page cache holds; from here on they count as durable.
  ETCD_TRY_VOID(newest.sync());
  log.prewritten_ = log.written_;
  ETCD_TRY(const std::vector<std::string> files, directory.list());
  for (const std::string& name : files) {
    if (name.ends_with(".tmp")) ETCD_TRY_VOID(directory.remove(name));
  }
  return opened;
}

Result<void> Log::scan_segment(Segment& segment, bool last, Index keep_after, Recovered& recovered) {
  ETCD_TRY(const std::uint64_t size, segment.file->size());
  FileWindow window(*segment.file, size, kScanBytes);
  std::uint64_t offset = 0;
  bool metadata_seen = false;
  const auto where = [&] { return fmt::format("{}, offset {}", segment.file->name(), offset); };
  const auto torn = [&](const char* what) -> Result<void> {
    if (!last)
      return failure(ErrorCode::kCorrupt, fmt::format("{}: {}, and it is not the last segment", where(), what));
    recovered.torn = fmt::format("{}: {}", where(), what);
    return {};
  };
  for (;;) {
    if (offset == size) break;
    ETCD_TRY(const BytesView field, window.at(offset, kLengthBytes));
    if (field.size() < kLengthBytes) {
      ETCD_TRY_VOID(torn("length field cut off"));
      break;
    }
    const Result<FrameLength> decoded = decode_length(field);
    if (!decoded) return failure(ErrorCode::kCorrupt, fmt::format("{}: {}", where(), decoded.error().message));
    const FrameLength length = *decoded;
    if (length.record_bytes == 0) break;  // the end of this segment
    if (length.record_bytes > size - offset - kLengthBytes ||
        length.pad_bytes > size - offset - kLengthBytes - length.record_bytes) {
      ETCD_TRY(const BytesView front, window.at(offset + kLengthBytes, kRecordHeadBytesMax));
      if (own_record_bytes(front).value_or(length.record_bytes) != length.record_bytes) {
        return failure(ErrorCode::kCorrupt, fmt::format("{}: bad length field", where()));
      }
      ETCD_TRY_VOID(torn("record cut off by the end of the file"));
      break;
    }
    ETCD_TRY(const BytesView frame, window.at(offset, length.frame_bytes()));
    if (frame.size() < length.frame_bytes()) {
      return failure(ErrorCode::kIo, fmt::format("{}: the file became shorter while it was read", where()));
    }
    const BytesView body = frame.substr(kLengthBytes);
    const Result<Record> record = decode_record(body.substr(0, length.record_bytes));
    const std::uint32_t before = running_crc_;
    const bool is_crc = record && record->type == static_cast<std::uint64_t>(RecordType::kCrc);
    // The first segment that we read starts in the middle of the chain: its own crc record tells the value.
    const bool chain_starts = is_crc && offset == 0 && running_crc_ == 0;
    const std::uint32_t expected = record && !is_crc ? crc32c(running_crc_, record->data) : running_crc_;
    if (!record || (record->crc != expected && !chain_starts)) {
      if (last && looks_torn(offset + kLengthBytes, body)) {
        ETCD_TRY_VOID(torn("record torn by a crash"));
        break;
      }
      if (!record) return failure(ErrorCode::kCorrupt, fmt::format("{}: {}", where(), record.error().message));
      return failure(ErrorCode::kCorrupt,
                     fmt::format("{}: crc mismatch: expected: {:x} computed: {:x}", where(), record->crc, expected));
    }
    running_crc_ = record->crc;
    metadata_seen |= record->type == static_cast<std::uint64_t>(RecordType::kMetadata);
    ETCD_TRY_VOID(take_record(*record, where(), Location{static_cast<std::uint32_t>(segment.sequence), before, offset},
                              keep_after, recovered));
    offset += length.frame_bytes();
  }
  if (!metadata_seen) {
    return failure(ErrorCode::kCorrupt, fmt::format("{}: no metadata record", segment.file->name()));
  }
  written_ = offset;
  return {};
}

Result<void> Log::take_record(const Record& record, const std::string& at, const Location& location, Index keep_after,
                              Recovered& recovered) {
  switch (record.type) {
    case static_cast<std::uint64_t>(RecordType::kMetadata):
      if (record.data != metadata_) {
        return failure(ErrorCode::kCorrupt, fmt::format("{}: conflicting metadata found", at));
      }
      return {};
    case static_cast<std::uint64_t>(RecordType::kEntry): {
      const Result<std::uint64_t> index = entry_index(record.data);
      if (!index) return failure(ErrorCode::kCorrupt, fmt::format("{}: {}", at, index.error().message));
      const auto placed = place_entry(Index{*index}, location);
      if (!placed) return failure(ErrorCode::kCorrupt, fmt::format("{}: {}", at, placed.error().message));
      while (!recovered.entries.empty() && recovered.entries.back().index >= Index{*index})
        recovered.entries.pop_back();
      if (Index{*index} > keep_after) recovered.entries.push_back({Index{*index}, Bytes(record.data)});
      return {};
    }
    case static_cast<std::uint64_t>(RecordType::kState): recovered.state = state_ = Bytes(record.data); return {};
    case static_cast<std::uint64_t>(RecordType::kCrc): return {};
    case static_cast<std::uint64_t>(RecordType::kSnapshot): {
      recovered.snapshots.emplace_back(record.data);
      codec::FieldReader reader(record.data);
      while (reader.next()) {
        if (reader.field() == 1) skip_to(Index{reader.varint()});
      }
      if (!reader.ok()) return failure(ErrorCode::kCorrupt, fmt::format("{}: not a snapshot record", at));
      return {};
    }
    default: return failure(ErrorCode::kCorrupt, fmt::format("{}: unexpected block type {}", at, record.type));
  }
}

Result<void> Log::place_entry(Index index, const Location& location) {
  const std::scoped_lock lock(mu_);
  if (locations_.empty() && index > first_) first_ = index;  // entries before a received snapshot are not here
  if (index < first_)
    return failure(ErrorCode::kInvalidArgument, fmt::format("entry {} lies before the log", index.value));
  const std::uint64_t place = index - first_;
  if (place > locations_.size()) {
    return failure(ErrorCode::kInvalidArgument, fmt::format("entry {} follows entry {}: slice bounds out of range",
                                                            index.value, first_.value + locations_.size() - 1));
  }
  locations_.resize(place);
  locations_.push_back(location);
  return {};
}

void Log::skip_to(Index snapshot) {
  const std::scoped_lock lock(mu_);
  if (snapshot.value < first_.value + locations_.size()) return;
  locations_.clear();
  first_ = snapshot + 1;
}

Result<void> Log::fail(Error error) {
  dead_ = std::move(error);
  return std::unexpected(*dead_);
}

void Log::append_head() {
  append_frame(buffer_, RecordType::kCrc, {}, running_crc_);
  append_frame(buffer_, RecordType::kMetadata, metadata_, running_crc_);
  if (!state_.empty()) append_frame(buffer_, RecordType::kState, state_, running_crc_);
}

Result<void> Log::start_segment(std::uint64_t sequence, Index first) {
  ETCD_TRY(Pipeline::Made made, pipeline_->take());
  const std::uint64_t ahead = buffer_.size() + options_.prewrite_bytes;
  if (made.prewritten < ahead) {
    ETCD_TRY_VOID(made.file->write_at(0, Bytes(ahead, '\0')));
    made.prewritten = ahead;
  }
  ETCD_TRY_VOID(made.file->write_at(0, buffer_));
  ETCD_TRY_VOID(made.file->sync());
  const std::string name = segment_name(sequence, first);
  ETCD_TRY_VOID(directory_.rename(made.name, name));
  ETCD_TRY_VOID(directory_.sync());
  const std::scoped_lock lock(mu_);
  segments_.push_back({sequence, first, std::move(made.file)});
  written_ = buffer_.size();
  prewritten_ = made.prewritten;
  buffer_.clear();
  return {};
}

Result<void> Log::append_entry(Index index, BytesView entry) {
  if (dead_) return std::unexpected(*dead_);
  const Location location{static_cast<std::uint32_t>(segments_.back().sequence), running_crc_,
                          written_ + buffer_.size()};
  ETCD_TRY_VOID(place_entry(index, location));
  append_frame(buffer_, RecordType::kEntry, entry, running_crc_);
  return {};
}

Result<void> Log::append_state(BytesView state) {
  if (dead_) return std::unexpected(*dead_);
  state_ = Bytes(state);
  append_frame(buffer_, RecordType::kState, state, running_crc_);
  return {};
}

Result<void> Log::append_snapshot(Index index, BytesView snapshot) {
  if (dead_) return std::unexpected(*dead_);
  skip_to(index);
  append_frame(buffer_, RecordType::kSnapshot, snapshot, running_crc_);
  return {};
}

Result<void> Log::flush() {
  if (dead_) return std::unexpected(*dead_);
  if (buffer_.empty()) return {};
  io::File& file = *segments_.back().file;
  const std::uint64_t end = written_ + buffer_.size();
  if (end > prewritten_) {
    // Zeros behind the frames go out in the same write, so that the next syncs find the file long enough.
    const std::uint64_t ahead = end + options_.prewrite_bytes;
    const std::size_t frames = buffer_.size();
    buffer_.resize(frames + options_.prewrite_bytes, '\0');
    const auto written = file.write_at(written_, buffer_);
    buffer_.resize(frames);
    if (!written) return fail(written.error());
    prewritten_ = ahead;
  } else if (const auto written = file.write_at(written_, buffer_); !written) {
    return fail(written.error());
  }
  bytes_written_ += buffer_.size();
  written_ = end;
  buffer_.clear();
  synced_ = false;
  if (written_ >= options_.segment_bytes / 2) pipeline_->prepare();
  return {};
}

Result<void> Log::sync() {
  ETCD_TRY_VOID(flush());
  if (!synced_) {
    if (!options_.unsafe_no_fsync) {
      if (const auto synced = segments_.back().file->sync(); !synced) return fail(synced.error());
    }
    ++syncs_;
    synced_ = true;
  }
  if (written_ >= options_.segment_bytes) return cut();
  return {};
}

Result<void> Log::cut() {
  io::File& file = *segments_.back().file;
  // The old segment ends where its records end: a reader then finds an exact end, not a hole.
  if (prewritten_ > written_) {
    if (const auto cut = file.truncate(written_); !cut) return fail(cut.error());
    if (const auto synced = file.sync(); !synced) return fail(synced.error());
  }
  const Index next = end();
  const std::uint64_t sequence = segments_.back().sequence + 1;
  append_head();
  if (const auto started = start_segment(sequence, next); !started) return fail(started.error());
  return {};
}

Result<std::vector<EntryRecord>> Log::read(Index begin, Index end, std::uint64_t bytes_max) const {
  std::vector<EntryRecord> entries;
  const std::scoped_lock lock(mu_);
  if (begin < first_) {
    return failure(ErrorCode::kCompacted,
                   fmt::format("entry {} lies before entry {}, the log's first", begin.value, first_.value));
  }
  if (end.value > first_.value + locations_.size()) {
    return failure(ErrorCode::kUnavailable, fmt::format("entry {} is not in the log", end.value - 1));
  }
  std::optional<FileWindow> window;
  std::uint32_t window_segment = 0;
  std::uint64_t bytes = 0;
  for (Index index = begin; index < end; ++index) {
    const Location& location = locations_[index - first_];
    const std::uint64_t place = location.segment - static_cast<std::uint32_t>(segments_.front().sequence);
    CHECK(place < segments_.size(), "entry {} lies in segment {}, which is gone", index.value, location.segment);
    const io::File& file = *segments_[place].file;
    if (!window || window_segment != location.segment) {
      ETCD_TRY(const std::uint64_t size, file.size());
      window.emplace(file, size, kLookUpBytes);
      window_segment = location.segment;
    }
    const auto corrupt = [&](const char* what) {
      return failure(ErrorCode::kCorrupt, fmt::format("{}, offset {}: {}", file.name(), location.offset, what));
    };
    ETCD_TRY(const BytesView field, window->at(location.offset, kLengthBytes));
    if (field.size() < kLengthBytes) return corrupt("the file became shorter");
    const Result<FrameLength> decoded = decode_length(field);
    if (!decoded) return corrupt("bad length field");
    const FrameLength length = *decoded;
    ETCD_TRY(const BytesView frame, window->at(location.offset, length.frame_bytes()));
    if (frame.size() < length.frame_bytes()) return corrupt("record cut off by the end of the file");
    const Result<Record> record = decode_record(frame.substr(kLengthBytes, length.record_bytes));
    if (!record || record->type != static_cast<std::uint64_t>(RecordType::kEntry)) return corrupt("not an entry");
    if (crc32c(location.crc_before, record->data) != record->crc) return corrupt("crc mismatch");
    bytes += record->data.size();
    if (!entries.empty() && bytes > bytes_max) break;
    entries.push_back({index, Bytes(record->data)});
  }
  return entries;
}

Index Log::first() const {
  const std::scoped_lock lock(mu_);
  return first_;
}

Index Log::end() const {
  const std::scoped_lock lock(mu_);
  return first_ + locations_.size();
}

std::size_t Log::segments() const {
  const std::scoped_lock lock(mu_);
  return segments_.size();
}

Index Log::first_of_newest(std::size_t count) const {
  const std::scoped_lock lock(mu_);
  return count >= segments_.size() ? first_ : segments_[segments_.size() - std::max<std::size_t>(count, 1)].first;
}

Result<void> Log::release(Index index) {
  if (dead_) return std::unexpected(*dead_);
  for (;;) {
    std::string name;
    std::unique_ptr<io::File> dropped;
    {
      const std::scoped_lock lock(mu_);
      // A segment named exactly `index` may begin with it, so its predecessor stays until something later begins.
      if (segments_.size() < 2 || segments_[1].first >= index) break;
      const auto gone = static_cast<std::uint32_t>(segments_.front().sequence);
      while (!locations_.empty() && locations_.front().segment == gone) {
        locations_.pop_front();
        ++first_;
      }
      name = segment_name(segments_.front().sequence, segments_.front().first);
      dropped = std::move(segments_.front().file);
      segments_.pop_front();
    }
    ETCD_TRY_VOID(directory_.remove(name));
  }
  return {};
}

}  // namespace etcd::wal
