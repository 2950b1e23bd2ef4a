#include "config/url.h"

#include <gtest/gtest.h>

#include <string>

namespace etcd::config {
namespace {

template <class T>
std::string message_of(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}

TEST(Url, Parts) {
  struct Row {
    const char* text;
    Url url;
  };
  const Row rows[] = {
      {"http://localhost:2379", {"http", "localhost", "2379", "", "http://localhost:2379", false}},
      {"  https://10.0.0.1:2379 ", {"https", "10.0.0.1", "2379", "", "https://10.0.0.1:2379", false}},
      {"HTTP://Host:1", {"http", "Host", "1", "", "http://Host:1", false}},
      {"http://[::1]:2379", {"http", "::1", "2379", "", "http://[::1]:2379", false}},
      {"http://:2379", {"http", "", "2379", "", "http://:2379", false}},
      {"http://host:", {"http", "host", "", "", "http://host:", false}},
      {"http://user:word@host:1", {"http", "host", "1", "", "http://user:word@host:1", false}},
      {"unix:/run/etcd.sock", {"unix", "", "", "/run/etcd.sock", "unix:/run/etcd.sock", false}},
      {"unix://localhost:23790", {"unix", "", "", "localhost:23790", "unix://localhost:23790", false}},
      {"unixs://name/sub:1", {"unixs", "", "", "name/sub:1", "unixs://name/sub:1", false}},
  };
  for (const Row& row : rows) {
    const Result<Url> url = parse_url(row.text);
    ASSERT_TRUE(url.has_value()) << row.text << ": " << message_of(url);
    EXPECT_EQ(url->scheme, row.url.scheme) << row.text;
    EXPECT_EQ(url->host, row.url.host) << row.text;
    EXPECT_EQ(url->port, row.url.port) << row.text;
    EXPECT_EQ(url->path, row.url.path) << row.text;
    EXPECT_EQ(url->text, row.url.text) << row.text;
    EXPECT_EQ(*url, row.url) << row.text;
  }
}

TEST(Url, Refusals) {
  struct Row {
    const char* name;
    const char* text;
    const char* message;
  };
  const Row rows[] = {
      {"empty", "", "URL scheme must be http, https, unix, or unixs: "},
      {"other scheme", "ftp://host:1", "URL scheme must be http, https, unix, or unixs: ftp://host:1"},
      {"host taken for a scheme", "localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"},
      {"no scheme, no colon", "host", "URL scheme must be http, https, unix, or unixs: host"},
      {"address alone", "127.0.0.1:2379", "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon"},
      {"port alone", ":2379", "parse \":2379\": missing protocol scheme"},
      {"no port", "http://host", "URL address does not have the form \"host:port\": http://host"},
      {"no slashes", "http:host:1", "URL address does not have the form \"host:port\": http:host:1"},
      {"bare IPv6", "http://::1:2379", "URL address does not have the form \"host:port\": http://::1:2379"},
      {"trailing slash", "http://host:1/", "URL must not contain a path: http://host:1/"},
      {"path", "http://host:1/v2", "URL must not contain a path: http://host:1/v2"},
      {"port of letters", "http://host:abc", "parse \"http://host:abc\": invalid port \":abc\" after host"},
      {"open bracket", "http://[::1:1", "parse \"http://[::1:1\": missing ']' in host"},
      {"space", "http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"},
      {"control", "http://a\nb:1", "parse \"http://a\\nb:1\": net/url: invalid control character in URL"},
  };
  for (const Row& row : rows) EXPECT_EQ(message_of(parse_url(row.text)), row.message) << row.name;
}

TEST(Url, ListsAreSortedAndEachStandsOnce) {
  const Result<UrlList> urls = parse_urls("http://b:1,http://a:2,http://b:1");
  ASSERT_TRUE(urls.has_value());
  EXPECT_EQ(join_urls(*urls), "http://a:2,http://b:1");
  EXPECT_EQ(message_of(parse_urls("")), "URL scheme must be http, https, unix, or unixs: ");
  EXPECT_EQ(message_of(parse_urls("http://a:1,")), "URL scheme must be http, https, unix, or unixs: ");
}

TEST(Url, ListeningAndAdvertising) {
  struct Row {
    const char* text;
    const char* listen;
    const char* advertise;
  };
  const Row rows[] = {
      {"http://localhost:1", "no error", "no error"},
      {"http://0.0.0.0:1", "no error", "no error"},
      {"http://[::]:1", "no error", "no error"},
      {"unix:/run/socket", "no error", "no error"},
      {"http://host.example:1", "expected IP in URL for binding (http://host.example:1)", "no error"},
      {"http://127.0.0.01:1", "expected IP in URL for binding (http://127.0.0.01:1)", "no error"},
      {"http://:1", "expected IP in URL for binding (http://:1)", "unexpected empty host (http://:1)"},
  };
  for (const Row& row : rows) {
    const UrlList urls = parse_urls(row.text).value();
    EXPECT_EQ(message_of(check_listen_urls(urls)), row.listen) << row.text;
    EXPECT_EQ(message_of(check_advertise_urls(urls)), row.advertise) << row.text;
  }
}

TEST(Url, MadeFromParts) {
  EXPECT_EQ(make_url("http", "localhost", "1"), parse_url("http://localhost:1").value());
  EXPECT_EQ(make_url("https", "::1", "1"), parse_url("https://[::1]:1").value());
}

TEST(Url, InitialCluster) {
  const auto members = parse_initial_cluster("b=http://b:1,a=http://a:2,a=http://a:1,,");
  ASSERT_TRUE(members.has_value());
  ASSERT_EQ(members->size(), 2u);
  EXPECT_EQ(join_urls(members->at("a")), "http://a:1,http://a:2");
  EXPECT_EQ(join_urls(members->at("b")), "http://b:1");
  EXPECT_TRUE(parse_initial_cluster("").value().empty());
  EXPECT_EQ(message_of(parse_initial_cluster("a")), "URL scheme must be http, https, unix, or unixs: ");
  EXPECT_EQ(message_of(parse_initial_cluster("a=http://h")),
            "URL address does not have the form \"host:port\": http://h");
}

}  // namespace
}  // namespace etcd::config
