#include "net/front.h"

#include <algorithm>
#include <utility>

#include "net/url.h"

namespace etcd::net {
namespace {

/// Adds the CORS fields to whatever answer comes.
class CorsExchange final : public Exchange {
 public:
  CorsExchange(std::shared_ptr<Exchange> inner, std::string origin)
      : inner_(std::move(inner)), origin_(std::move(origin)) {}

  void send(Response response) override {
    add(response);
    inner_->send(std::move(response));
  }
  void start(Response response) override {
    add(response);
    inner_->start(std::move(response));
  }
  void write(SharedBytes piece) override { inner_->write(std::move(piece)); }
  void finish() override { inner_->finish(); }
  [[nodiscard]] std::size_t unsent_bytes() const override { return inner_->unsent_bytes(); }
  void on_drained(std::function<void()> callback) override { inner_->on_drained(std::move(callback)); }
  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  [[nodiscard]] io::Executor& executor() override { return inner_->executor(); }

 private:
  void add(Response& response) const {
    response.headers.add("Access-Control-Allow-Headers", "accept, content-type, authorization");
    response.headers.add("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
    response.headers.add("Access-Control-Allow-Origin", origin_);
  }

  std::shared_ptr<Exchange> inner_;  // shared with the session, as every exchange is
  std::string origin_;
};

bool contains(const std::vector<std::string>& texts, std::string_view text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

}  // namespace

Response text_error(int status, std::string_view text) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.headers.add("X-Content-Type-Options", "nosniff");
  response.body = Bytes(text) + '\n';
  return response;
}

Response method_not_allowed(std::string allowed) {
  Response response = text_error(405, "Method Not Allowed");
  response.headers.add("Allow", std::move(allowed));
  return response;
}

Front::Front(FrontOptions options)
    : options_(std::move(options)),
      any_host_(options_.host_whitelist.empty() || contains(options_.host_whitelist, "*")),
      any_origin_(contains(options_.cors, "*")) {}

void Front::route(std::string path, Handler& handler, FrontRoute options) {
  routes_.insert_or_assign(std::move(path), Route{&handler, options});
}

const Front::Route* Front::route_of(const std::string& path) const {
  // In descending order, the first route that is no greater than the path and matches it is the longest one that does.
  for (auto at = routes_.lower_bound(path); at != routes_.end(); ++at) {
    const auto& [prefix, route] = *at;
    if (prefix == path || (prefix.ends_with('/') && path.starts_with(prefix))) return &route;
  }
  return nullptr;
}

std::string Front::allowed_origin(const Request& request) const {
  if (any_origin_) return "*";
  const std::string* const origin = request.headers.find("Origin");
  return origin != nullptr && contains(options_.cors, *origin) ? *origin : std::string();
}

bool Front::allows_host(const Request& request) const {
  if (any_host_ || request.secure) return true;
  const std::string* const host = request.headers.find("Host");
  if (host == nullptr) return false;
  const std::size_t colon = host->rfind(':');
  const bool has_port = colon != std::string::npos && host->find(']', colon) == std::string::npos;
  return contains(options_.host_whitelist, std::string_view(*host).substr(0, has_port ? colon : std::string::npos));
}

void Front::handle(Request request, std::shared_ptr<Exchange> exchange) {
  if (!allows_host(request)) {
    exchange->send(text_error(421, "etcd: this host name is not among those that --host-whitelist allows"));
    return;
  }
  const Route* const route = route_of(request.path);
  std::string origin = route == nullptr || route->options.cors ? allowed_origin(request) : std::string();
  if (!origin.empty()) {
    exchange = std::make_shared<CorsExchange>(std::move(exchange), std::move(origin));
  }
  if (request.method == "OPTIONS") {
    exchange->send({});
    return;
  }
  if (auto redirect = redirect_to_clean_path(request)) {
    exchange->send(*std::move(redirect));
    return;
  }
  if (route != nullptr) {
    route->handler->handle(std::move(request), std::move(exchange));
    return;
  }
  exchange->send(text_error(404, "404 page not found"));
}

void NotFoundHandler::handle(Request, std::shared_ptr<Exchange> exchange) {
  exchange->send(text_error(404, "404 page not found"));
}

}  // namespace etcd::net
