// net/front.h - what stands before every handler of a port: host check, CORS, clean paths, and who answers which path.
//
// Life:    constructor -> route()* -> handle() ... (routes do not change any more)
// Thread:  route() before the first request; handle() on any net loop.
// Owns:    its table. Borrows the handlers, which must outlive it.
// Source:  etcd v3.7.1 server/embed/serve.go (accessController) and Go's net/http ServeMux.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/http.h"

namespace etcd::net {

struct FrontOptions {
  std::vector<std::string> cors = {};            // origins, exactly as browsers send them; "*" allows any
  std::vector<std::string> host_whitelist = {};  // host names without port; "*" or nothing allows any
};

struct FrontRoute {
  bool cors = true;  // false: no CORS fields, whatever the origin
};

class Front final : public Handler {
 public:
  explicit Front(FrontOptions options);

  /// Sends requests for `path` to `handler`; one that ends in a slash stands for everything below it. The longest wins.
  void route(std::string path, Handler& handler, FrontRoute options = {});

  void handle(Request request, std::shared_ptr<Exchange> exchange) override;

 private:
  struct Route {
    Handler* handler;
    FrontRoute options;
  };

  [[nodiscard]] const Route* route_of(const std::string& path) const;
  [[nodiscard]] std::string allowed_origin(const Request& request) const;
  [[nodiscard]] bool allows_host(const Request& request) const;

  const FrontOptions options_;
  std::map<std::string, Route, std::greater<>> routes_;  // so that a longer path comes before its own prefix
  bool any_host_ = false;
  bool any_origin_ = false;
};

/// Answers 404 to whatever is routed to it.
class NotFoundHandler final : public Handler {
 public:
  void handle(Request request, std::shared_ptr<Exchange> exchange) override;
};

/// A text answer as Go's http.Error gives it: the text, a newline, and no sniffing.
Response text_error(int status, std::string_view text);

/// The answer to a method that a path does not have. `allowed` is a list such as "GET, HEAD".
Response method_not_allowed(std::string allowed);

}  // namespace etcd::net
