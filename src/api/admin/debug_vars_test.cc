#include "api/admin/debug_vars.h"

#include <gtest/gtest.h>

namespace etcd::api::admin {
namespace {

TEST(DebugVars, OneVariableALineByName) {
  const ProcessVars process{
      .command_line = {"etcd", "--name", "\"x\""}, .descriptor_limit = 1024, .heap_bytes = 100, .heap_bytes_used = 60};
  EXPECT_EQ(debug_vars_json(process, R"({"id":"1"})"),
            "{\n"
            "\"cmdline\": [\"etcd\",\"--name\",\"\\\"x\\\"\"],\n"
            "\"file_descriptor_limit\": 1024,\n"
            "\"memstats\": {\"Alloc\":60,\"Sys\":100,\"HeapAlloc\":60,\"HeapSys\":100,\"HeapIdle\":40,"
            "\"HeapInuse\":60},\n"
            "\"raft.status\": {\"id\":\"1\"}\n"
            "}\n");
}

}  // namespace
}  // namespace etcd::api::admin
