#include "api/admin/debug_vars.h"

#include <fmt/format.h>

#include "codec/json.h"
#include "net/front.h"

namespace etcd::api::admin {

Bytes debug_vars_json(const ProcessVars& process, BytesView raft_status) {
  Bytes out = "{\n\"cmdline\": ";
  codec::append_json_strings(out, process.command_line);
  out += fmt::format(",\n\"file_descriptor_limit\": {}", process.descriptor_limit);
  out += fmt::format(
      ",\n\"memstats\": "
      R"({{"Alloc":{1},"Sys":{0},"HeapAlloc":{1},"HeapSys":{0},"HeapIdle":{2},"HeapInuse":{1}}})",
      process.heap_bytes, process.heap_bytes_used, process.heap_bytes - process.heap_bytes_used);
  out += ",\n\"raft.status\": ";
  out += raft_status;
  out += "\n}\n";
  return out;
}

void DebugVarsHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  service_.raft_status(exchange->executor(), [this, exchange](const Bytes& status) {
    net::Response response;
    response.headers.add("Content-Type", "application/json; charset=utf-8");
    response.body = debug_vars_json(process_(), status);
    exchange->send(std::move(response));
  });
}

}  // namespace etcd::api::admin
