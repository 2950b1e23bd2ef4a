// api/admin/debug_vars.h - /debug/vars: the process and its raft core, for whoever debugs.
//
// Thread:  any net loop.
// Source:  etcd v3.7.1 server/etcdserver/api/etcdhttp/debug.go; Go's expvar (form, `cmdline`, `memstats`).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/http.h"
#include "service/service.h"

namespace etcd::api::admin {

/// What the system knows of this process.
struct ProcessVars {
  std::vector<std::string> command_line;
  std::uint64_t descriptor_limit = 0;
  std::uint64_t heap_bytes = 0;       // taken from the system by the allocator
  std::uint64_t heap_bytes_used = 0;  // of these, what the program holds
};

/// One variable a line, by name. Of Go's memstats it has the fields that an allocator without a collector can fill.
Bytes debug_vars_json(const ProcessVars& process, BytesView raft_status);

/// GET: the above.
class DebugVarsHandler final : public net::Handler {
 public:
  DebugVarsHandler(service::Service& service, std::function<ProcessVars()> process)
      : service_(service), process_(std::move(process)) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
  const std::function<ProcessVars()> process_;
};

}  // namespace etcd::api::admin
