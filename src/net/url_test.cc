#include "net/url.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace etcd::net {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(Url, ParsesTargets) {
  struct Row {
    const char* name;
    const char* method;
    std::string target;
    bool good;
    std::string path;
    std::string query;
    std::string authority;
  };
  const std::vector<Row> rows = {
      {"root", "GET", "/", true, "/", "", ""},
      {"with query", "GET", "/a%20b?x=%20&y", true, "/a b", "x=%20&y", ""},
      {"second question mark", "GET", "/a?b?c", true, "/a", "b?c", ""},
      {"escaped question mark", "GET", "/a%3Fb", true, "/a?b", "", ""},
      {"plus stays", "GET", "/a+b", true, "/a+b", "", ""},
      {"hash stays", "GET", "/a#b", true, "/a#b", "", ""},
      {"two slashes are a path", "GET", "//host/a", true, "//host/a", "", ""},
      {"nul", "GET", "/a%00b", true, std::string("/a\0b", 4), "", ""},
      {"raw bytes", "GET", "/\xC3\xA9", true, "/\xC3\xA9", "", ""},
      {"bad escape in the query is the form's matter", "GET", "/a?%zz", true, "/a", "%zz", ""},
      {"star", "OPTIONS", "*", true, "*", "", ""},
      {"absolute", "GET", "http://h:1/a?b", true, "/a", "b", "h:1"},
      {"absolute, https, no path", "GET", "HTTPS://h", true, "/", "", "h"},
      {"absolute, query only", "GET", "http://h?b", true, "/", "b", "h"},
      {"star for another method", "GET", "*", false, "", "", ""},
      {"empty", "GET", "", false, "", "", ""},
      {"relative", "GET", "a/b", false, "", "", ""},
      {"authority", "CONNECT", "h:1", false, "", "", ""},
      {"absolute without host", "GET", "http:///a", false, "", "", ""},
      {"absolute with user", "GET", "http://u@h/a", false, "", "", ""},
      {"other scheme", "GET", "ftp://h/a", false, "", "", ""},
      {"bad escape", "GET", "/%zz", false, "", "", ""},
      {"half escape", "GET", "/%4", false, "", "", ""},
      {"lone percent", "GET", "/%", false, "", "", ""},
      {"control", "GET", "/a\x01", false, "", "", ""},
      {"delete", "GET", "/a\x7F", false, "", "", ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Result<Target> parsed = parse_target(row.method, row.target);
    ASSERT_EQ(parsed.has_value(), row.good);
    if (!row.good) {
      EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
      continue;
    }
    EXPECT_EQ(parsed->path, row.path);
    EXPECT_EQ(parsed->query, row.query);
    EXPECT_EQ(parsed->authority, row.authority);
  }
}

TEST(Url, NamesTheBadEscape) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"%zz", "invalid URL escape \"%zz\""},
      {"abc%4", "invalid URL escape \"%4\""},
      {"%", "invalid URL escape \"%\""},
      {"%zzz", "invalid URL escape \"%zz\""},
      {"%41%4x", "invalid URL escape \"%4x\""},
      {"%\"\\", "invalid URL escape \"%\\\"\\\\\""},
      {"%\n\x01", "invalid URL escape \"%\\n\\x01\""},
      {"%\xC3\xA9", "invalid URL escape \"%\xC3\xA9\""},
      {"%\xFF", "invalid URL escape \"%\\xff\""},
  };
  for (const auto& [text, message] : rows) {
    SCOPED_TRACE(text);
    const Result<std::string> decoded = unescape_path(text);
    ASSERT_FALSE(decoded.has_value());
    EXPECT_EQ(decoded.error().message, message);
  }
}

TEST(Url, PlusIsASpaceInQueriesOnly) {
  EXPECT_EQ(unescape_path("a+b%2B%20").value(), "a+b+ ");
  EXPECT_EQ(unescape_query("a+b%2B%20").value(), "a b+ ");
}

TEST(Url, ParsesForms) {
  struct Row {
    const char* name;
    std::string text;
    Pairs pairs;
    std::string error;
  };
  const std::vector<Row> rows = {
      {"empty", "", {}, ""},
      {"one", "value=x", {{"value", "x"}}, ""},
      {"in order, repeated", "b=1&a=2&b=3", {{"b", "1"}, {"a", "2"}, {"b", "3"}}, ""},
      {"equals signs", "value=a=b=c", {{"value", "a=b=c"}}, ""},
      {"without equals sign", "value", {{"value", ""}}, ""},
      {"empty name", "=x", {{"", "x"}}, ""},
      {"ampersands only", "&&&", {}, ""},
      {"escaped name", "val%75e=x", {{"value", "x"}}, ""},
      {"plus and percent", "a+b=c+d%2B", {{"a b", "c d+"}}, ""},
      {"escaped semicolon", "value=a%3Bb", {{"value", "a;b"}}, ""},
      {"semicolon", "value=a;b", {}, "invalid semicolon separator in query"},
      {"semicolon, the rest is read", "a=1;b=2&c=3", {{"c", "3"}}, "invalid semicolon separator in query"},
      {"bad escape, the rest is read", "x=%zz&value=ok", {{"value", "ok"}}, "invalid URL escape \"%zz\""},
      {"bad escape in a name", "%4=1&b=2", {{"b", "2"}}, "invalid URL escape \"%4\""},
      {"first of two", "x=%zz&y=%yy", {}, "invalid URL escape \"%zz\""},
      {"name before value", "%aa%z=%yy", {}, "invalid URL escape \"%z\""},
      {"semicolon is stronger", "x=%zz&;", {}, "invalid semicolon separator in query"},
      {"cut escape", "value=abc%4", {}, "invalid URL escape \"%4\""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Form form = parse_form(row.text);
    EXPECT_EQ(form.pairs, row.pairs);
    EXPECT_EQ(form.error, row.error);
  }
  const Form form = parse_form("a=1&b=2&a=3");
  ASSERT_NE(form.find("a"), nullptr);
  EXPECT_EQ(*form.find("a"), "1");
  EXPECT_EQ(form.find("c"), nullptr);
}

TEST(Url, CleansPaths) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", "/"},
      {"/", "/"},
      {"//", "/"},
      {"a", "/a"},
      {"/a", "/a"},
      {"/a/", "/a/"},
      {"/a//", "/a/"},
      {"/a//b", "/a/b"},
      {"///a", "/a"},
      {"/a/./b", "/a/b"},
      {"/a/.", "/a"},
      {"/a/./", "/a/"},
      {"/a/../b", "/b"},
      {"/a/b/..", "/a"},
      {"/a/..", "/"},
      {"/a/../", "/"},
      {"/..", "/"},
      {"/../../a", "/a"},
      {"/a..b/.c/...", "/a..b/.c/..."},
      {"/v2/keys/../../version", "/version"},
  };
  for (const auto& [path, clean] : rows) {
    SCOPED_TRACE(path);
    EXPECT_EQ(clean_path(path), clean);
    EXPECT_EQ(is_clean_path(path), path == clean);
    EXPECT_TRUE(is_clean_path(clean));
  }
}

TEST(Url, EscapesPaths) {
  EXPECT_EQ(escape_path("/az/AZ/09-_.~$&+,:;=@"), "/az/AZ/09-_.~$&+,:;=@");
  EXPECT_EQ(escape_path("/a b?c#d%"), "/a%20b%3Fc%23d%25");
  EXPECT_EQ(escape_path("/!'()*[]\""), "/%21%27%28%29%2A%5B%5D%22");
  EXPECT_EQ(escape_path("/\xC3\xA9"), "/%C3%A9");
  EXPECT_EQ(escape_path(std::string("\0", 1)), "%00");
}

TEST(Url, EscapesHtml) {
  EXPECT_EQ(escape_html("<a href=\"x\">'&"), "&lt;a href=&#34;x&#34;&gt;&#39;&amp;");
}

TEST(Url, RedirectsToCleanPaths) {
  struct Row {
    const char* name;
    std::string target;
    std::string location;  // empty: no redirect
    std::string body;
  };
  const std::vector<Row> rows = {
      {"clean", "/v2/keys/a", "", ""},
      {"clean with slash", "/v2/keys/a/", "", ""},
      {"two slashes", "/v2/keys/a//b", "/v2/keys/a/b", "<a href=\"/v2/keys/a/b\">Moved Permanently</a>.\n\n"},
      {"query is kept", "/v2/keys//a?recursive=true&x=%20y", "/v2/keys/a?recursive=true&x=%20y",
       "<a href=\"/v2/keys/a?recursive=true&amp;x=%20y\">Moved Permanently</a>.\n\n"},
      {"trailing slash is kept", "/v2/keys/a//", "/v2/keys/a/", "<a href=\"/v2/keys/a/\">Moved Permanently</a>.\n\n"},
      {"escaped dots", "/v2/keys/b/%2e%2e/a", "/v2/keys/a", "<a href=\"/v2/keys/a\">Moved Permanently</a>.\n\n"},
      {"escaped slashes", "/v2/keys%2F%2Fa", "/v2/keys/a", "<a href=\"/v2/keys/a\">Moved Permanently</a>.\n\n"},
      {"escaped anew", "//a%3f%20!\xC3\xA9", "/a%3F%20%21%C3%A9",
       "<a href=\"/a%3F%20%21%C3%A9\">Moved Permanently</a>.\n\n"},
      {"raw bytes in the query", "//a?\xC3\xA9", "/a?%c3%a9", "<a href=\"/a?\xC3\xA9\">Moved Permanently</a>.\n\n"},
  };
  for (const Row& row : rows) {
    for (const char* method : {"GET", "HEAD", "PUT", "DELETE"}) {
      SCOPED_TRACE(std::string(row.name) + " " + method);
      Request request;
      request.method = method;
      request.target = row.target;
      const Target target = parse_target(method, row.target).value();
      request.path = target.path;
      request.query = target.query;
      const std::optional<Response> response = redirect_to_clean_path(request);
      ASSERT_EQ(response.has_value(), !row.location.empty());
      if (!response.has_value()) continue;
      EXPECT_EQ(response->status, 301);
      ASSERT_NE(response->headers.find("location"), nullptr);
      EXPECT_EQ(*response->headers.find("location"), row.location);
      const bool has_page = request.method == "GET" || request.method == "HEAD";
      EXPECT_EQ(response->headers.find("content-type") != nullptr, has_page);
      EXPECT_EQ(response->body, has_page ? row.body : "");
    }
  }
  Request star;
  star.method = "OPTIONS";
  star.path = "*";
  EXPECT_FALSE(redirect_to_clean_path(star).has_value());
}

}  // namespace
}  // namespace etcd::net
