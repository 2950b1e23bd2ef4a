// net/url.h - request targets, paths, queries and forms, read as Go's net/url and net/http read them.
//
// Thread:  any (pure functions).
// Source:  Go's net/url, path and net/http as far as their behaviour shows in etcd's answers (v2-transcripts, `paths`,
//          `forms`); RFC 9112 3.2 for the forms of a request target.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/http.h"

namespace etcd::net {

/// A request target, taken apart.
struct Target {
  std::string path;       // percent-decoded; "*" stands for the server as a whole
  std::string query;      // behind the first '?', still encoded
  std::string authority;  // of the absolute form ("http://authority/path"), else empty
};

/// Shape:  "/path?query"; "http://authority/path?query"; "*" for OPTIONS.
/// Errors: kInvalidArgument for anything else, control characters and bad escapes included.
Result<Target> parse_target(std::string_view method, std::string_view target);

/// Decodes `%41`; everything else stays as it is, `+` too.
/// Errors: kInvalidArgument, `invalid URL escape "%zz"`.
Result<std::string> unescape_path(std::string_view text);

/// As unescape_path(), and `+` is a space.
Result<std::string> unescape_query(std::string_view text);

/// A query or a body of type application/x-www-form-urlencoded.
struct Form {
  std::vector<std::pair<std::string, std::string>> pairs;  // in order; a name may come several times
  std::string error;                                       // what was wrong with some pair; empty when nothing was

  /// The first value of that name, or null.
  [[nodiscard]] const std::string* find(std::string_view name) const;
};

/// Pairs that cannot be read are left out, and the rest is still there, as in url.ParseQuery.
/// Errors: in Form::error, the first bad escape, or, stronger than that, `invalid semicolon separator in query`.
Form parse_form(std::string_view text);

/// True when clean_path() would return the same. Fast, since every request is asked.
bool is_clean_path(std::string_view path);

/// "/a/b" of "a//./x/../b": rooted, without empty, "." and ".." components; a trailing slash stays.
/// Source: path.Clean as net/http's ServeMux applies it.
std::string clean_path(std::string_view path);

/// Encodes a decoded path for a Location header; "$&+,/:;=@-_.~", letters and digits stay.
std::string escape_path(std::string_view path);

/// Escapes & < > " and '.
std::string escape_html(std::string_view text);

/// What ServeMux answers to a path that is not clean: 301 to the clean one, with the query. Nothing for a clean path,
/// "*" and CONNECT. What is cleaned is the decoded path: %2F%2F counts as two slashes.
std::optional<Response> redirect_to_clean_path(const Request& request);

}  // namespace etcd::net
