// bench/codec_bench.cc - bytes to messages and back: what the hand-written forms save, and what a command costs.
//
// entry_*     a raft entry with a command of 256 or 4096 bytes, to its bytes and from them to the form in which raft
//             holds it: by hand (replica/entry_codec.h), by a generated message, and by one that is used again
// command_*   an InternalRaftRequest around a v2 command: built and encoded as the service does, parsed as apply does
// json_*      strings of the v2 answers: plain text, text full of characters to escape, text beyond ASCII
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <utility>

#include "base/check.h"
#include "codec/json.h"
#include "codec/proto/raft.pb.h"
#include "codec/proto/raft_internal.pb.h"
#include "raft/message.h"
#include "replica/entry_codec.h"

namespace etcd::bench {
namespace {

raft::Entry entry_of(std::int64_t command_bytes) {
  raft::Entry entry;
  entry.term = Term{7};
  entry.index = Index{1'000'000};
  entry.data = SharedBytes(Bytes(static_cast<std::size_t>(command_bytes), 'x'));
  return entry;
}

Bytes encoded_entry(std::int64_t command_bytes) {
  Bytes out;
  replica::append_entry(out, entry_of(command_bytes));
  return out;
}

void fill(raftpb::Entry& message, const raft::Entry& entry) {
  message.set_type(static_cast<raftpb::EntryType>(entry.type));
  message.set_term(entry.term.value);
  message.set_index(entry.index.value);
  message.set_data(entry.data.view().data(), entry.data.size());
}

raft::Entry taken_from(raftpb::Entry& message) {
  raft::Entry entry;
  entry.type = static_cast<raft::EntryType>(message.type());
  entry.term = Term{message.term()};
  entry.index = Index{message.index()};
  entry.data = SharedBytes(std::move(*message.mutable_data()));
  return entry;
}

void entry_encode_by_hand(benchmark::State& state) {
  const raft::Entry entry = entry_of(state.range(0));
  Bytes out;
  for (auto _ : state) {
    out.clear();
    replica::append_entry(out, entry);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(entry_encode_by_hand)->ArgName("bytes")->Arg(256)->Arg(4096);

void entry_encode_generated(benchmark::State& state) {
  const raft::Entry entry = entry_of(state.range(0));
  Bytes out;
  for (auto _ : state) {
    raftpb::Entry message;
    fill(message, entry);
    CHECK(message.SerializeToString(&out));
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(entry_encode_generated)->ArgName("bytes")->Arg(256)->Arg(4096);

void entry_encode_generated_reused(benchmark::State& state) {
  const raft::Entry entry = entry_of(state.range(0));
  Bytes out;
  raftpb::Entry message;
  for (auto _ : state) {
    message.Clear();
    fill(message, entry);
    CHECK(message.SerializeToString(&out));
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(entry_encode_generated_reused)->ArgName("bytes")->Arg(256)->Arg(4096);

void entry_decode_by_hand(benchmark::State& state) {
  const Bytes bytes = encoded_entry(state.range(0));
  for (auto _ : state) {
    const Result<raft::Entry> entry = replica::decode_entry(bytes);
    CHECK(entry.has_value());
    benchmark::DoNotOptimize(entry->data.view().data());
  }
}
BENCHMARK(entry_decode_by_hand)->ArgName("bytes")->Arg(256)->Arg(4096);

void entry_decode_generated(benchmark::State& state) {
  const Bytes bytes = encoded_entry(state.range(0));
  for (auto _ : state) {
    raftpb::Entry message;
    CHECK(message.ParseFromString(bytes));
    const raft::Entry entry = taken_from(message);
    benchmark::DoNotOptimize(entry.data.view().data());
  }
}
BENCHMARK(entry_decode_generated)->ArgName("bytes")->Arg(256)->Arg(4096);

void entry_decode_generated_reused(benchmark::State& state) {
  const Bytes bytes = encoded_entry(state.range(0));
  raftpb::Entry message;
  for (auto _ : state) {
    CHECK(message.ParseFromString(bytes));
    const raft::Entry entry = taken_from(message);
    benchmark::DoNotOptimize(entry.data.view().data());
  }
}
BENCHMARK(entry_decode_generated_reused)->ArgName("bytes")->Arg(256)->Arg(4096);

constexpr char kPath[] = "/services/frontend/instances/0017";

Bytes encoded_command(const Bytes& value) {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header()->set_id(0x0123456789abcdef);
  etcdv2pb::Command& command = *request.mutable_v2_command();
  command.set_verb(etcdv2pb::Command::SET);
  command.set_path(kPath);
  command.set_value(value);
  return request.SerializeAsString();
}

void command_encode(benchmark::State& state) {
  const Bytes value(static_cast<std::size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    const Bytes bytes = encoded_command(value);
    benchmark::DoNotOptimize(bytes.data());
  }
}
BENCHMARK(command_encode)->ArgName("bytes")->Arg(256)->Arg(4096);

void command_parse(benchmark::State& state) {
  const Bytes bytes = encoded_command(Bytes(static_cast<std::size_t>(state.range(0)), 'x'));
  for (auto _ : state) {
    etcdserverpb::InternalRaftRequest request;
    CHECK(request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    CHECK(request.has_v2_command());
    benchmark::DoNotOptimize(request.v2_command().path().data());
  }
}
BENCHMARK(command_parse)->ArgName("bytes")->Arg(256)->Arg(4096);

/// `unit` again and again, as many whole times as fit.
Bytes repeated(BytesView unit, std::int64_t bytes) {
  Bytes out;
  while (out.size() + unit.size() <= static_cast<std::size_t>(bytes)) out.append(unit);
  return out;
}

void json_string(benchmark::State& state, BytesView unit) {
  const Bytes text = repeated(unit, state.range(0));
  Bytes out;
  for (auto _ : state) {
    out.clear();
    codec::append_json_string(out, text);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK_CAPTURE(json_string, plain, "plain text ")->ArgName("bytes")->Arg(32)->Arg(256)->Arg(4096);
BENCHMARK_CAPTURE(json_string, escaped, "{\"a\":<b>}\n")->ArgName("bytes")->Arg(256)->Arg(4096);
BENCHMARK_CAPTURE(json_string, beyond_ascii, "\xc3\xa9t\xc3\xa9 \xe2\x82\xac ")->ArgName("bytes")->Arg(256)->Arg(4096);

}  // namespace
}  // namespace etcd::bench
