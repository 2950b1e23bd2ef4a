#include "net/front.h"

#include <gtest/gtest.h>

namespace etcd::net {
namespace {

class Recorder final : public Exchange {
 public:
  void send(Response response) override { response_ = std::move(response); }
  void start(Response response) override { response_ = std::move(response); }
  void write(SharedBytes) override {}
  void finish() override {}
  [[nodiscard]] std::size_t unsent_bytes() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void on_close(std::function<void()>) override {}
  [[nodiscard]] io::Executor& executor() override { std::abort(); }
  Response response_;
};

class Named final : public Handler {
 public:
  explicit Named(std::string name) : name_(std::move(name)) {}
  void handle(Request, std::shared_ptr<Exchange> exchange) override {
    Response response;
    response.body = name_;
    exchange->send(std::move(response));
  }
  std::string name_;
};

Response ask(Front& front, std::string method, std::string path,
             std::vector<std::pair<std::string, std::string>> fields = {}) {
  Request request;
  request.method = std::move(method);
  request.target = request.path = std::move(path);
  for (auto& [name, value] : fields) request.headers.add(name, value);
  const auto recorder = std::make_shared<Recorder>();
  front.handle(std::move(request), recorder);
  return recorder->response_;
}

TEST(Front, TheLongestRouteAnswers) {
  Front front({});
  Named keys("keys"), below("below"), stats("stats"), root("root");
  front.route("/v2/keys", keys);
  front.route("/v2/keys/", below);
  front.route("/v2/keys/x/", stats);
  front.route("/version", root);
  struct Row {
    const char* path;
    const char* body;
  };
  for (const Row& row : {Row{"/v2/keys", "keys"},
                         {"/v2/keys/", "below"},
                         {"/v2/keys/a/b", "below"},
                         {"/v2/keys/x/y", "stats"},
                         {"/v2/keys/x", "below"},
                         {"/version", "root"},
                         {"/v2/keysx", "404 page not found\n"},
                         {"/version/", "404 page not found\n"},
                         {"/", "404 page not found\n"},
                         {"/v2/keys-", "404 page not found\n"}}) {
    EXPECT_EQ(ask(front, "GET", row.path).body, row.body) << row.path;
  }
  EXPECT_EQ(ask(front, "GET", "/v2//keys").status, 301);
}

TEST(Front, CorsGoesToAllowedOriginsOnly) {
  Front any({.cors = {"*"}});
  EXPECT_EQ(*ask(any, "GET", "/none").headers.find("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(ask(any, "OPTIONS", "/none").status, 200);
  Front some({.cors = {"http://one.example:9000"}});
  EXPECT_EQ(ask(some, "GET", "/none").headers.find("Access-Control-Allow-Origin"), nullptr);
  EXPECT_EQ(ask(some, "GET", "/none", {{"Origin", "http://two.example"}}).headers.find("Access-Control-Allow-Origin"),
            nullptr);
  EXPECT_EQ(
      *ask(some, "GET", "/none", {{"Origin", "http://one.example:9000"}}).headers.find("Access-Control-Allow-Origin"),
      "http://one.example:9000");
}

TEST(Front, ARouteMayDoWithoutCors) {
  Front front({.cors = {"*"}});
  Named plain("plain"), bare("bare");
  front.route("/plain", plain);
  front.route("/bare/", bare, {.cors = false});
  EXPECT_NE(ask(front, "GET", "/plain").headers.find("Access-Control-Allow-Origin"), nullptr);
  const Response response = ask(front, "GET", "/bare/x");
  EXPECT_EQ(response.body, "bare");
  EXPECT_EQ(response.headers.find("Access-Control-Allow-Origin"), nullptr);
  EXPECT_EQ(ask(front, "OPTIONS", "/bare/x").headers.find("Access-Control-Allow-Origin"), nullptr);
}

TEST(Front, StrangeHostsAreMisdirected) {
  Front front({.host_whitelist = {"good.example", "[::1]"}});
  EXPECT_EQ(ask(front, "GET", "/", {{"Host", "good.example:2379"}}).status, 404);
  EXPECT_EQ(ask(front, "GET", "/", {{"Host", "[::1]:2379"}}).status, 404);
  EXPECT_EQ(ask(front, "GET", "/", {{"Host", "[::1]"}}).status, 404);
  EXPECT_EQ(ask(front, "GET", "/", {{"Host", "bad.example:2379"}}).status, 421);
  EXPECT_EQ(ask(front, "OPTIONS", "/", {{"Host", "bad.example"}}).status, 421);
}

}  // namespace
}  // namespace etcd::net
