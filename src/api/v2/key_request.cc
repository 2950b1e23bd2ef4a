#include "api/v2/key_request.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "net/media_type.h"
#include "net/url.h"
#include "tree/path.h"

namespace etcd::api::v2 {
namespace {

using etcdv2pb::Command;
using tree::Code;

constexpr BytesView kPrefix = "/v2/keys";

std::unexpected<tree::Refusal> refuse(Code code, Bytes cause) {
  return std::unexpected(tree::Refusal{code, std::move(cause), 0});
}

std::unexpected<tree::Refusal> invalid(Code code, BytesView name) {
  return refuse(code, "invalid value for \"" + Bytes(name) + "\"");
}

/// Go's strconv.ParseBool.
std::optional<bool> parse_bool(BytesView text) {
  for (const BytesView yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const BytesView no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_number(BytesView text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || std::from_chars(text.data(), end, number) != std::from_chars_result{end, std::errc{}}) {
    return std::nullopt;
  }
  return number;
}

/// The fields of body and query: a body's field comes before the query's, and the first of a name counts.
class Form {
 public:
  static tree::Outcome<Form> of(const net::Request& request) {
    Form form;
    std::string media_error;
    if (request.method == "PUT" || request.method == "POST") {
      // Without a type a body is no form, but a type that cannot be read is an error.
      const std::string* const field = request.headers.find("Content-Type");
      const net::MediaType media = net::parse_media_type(field != nullptr && !field->empty() ? *field : kNoType);
      if (media.type == "application/x-www-form-urlencoded") form.body_ = net::parse_form(request.body);
      media_error = media.error;
    }
    form.query_ = net::parse_form(request.query);
    for (const std::string& error : {media_error, form.body_.error, form.query_.error}) {
      if (!error.empty()) return refuse(Code::kInvalidForm, error);
    }
    return form;
  }

  [[nodiscard]] const std::string* find(BytesView name) const {
    const std::string* const found = body_.find(name);
    return found != nullptr ? found : query_.find(name);
  }

  [[nodiscard]] BytesView value(BytesView name) const {
    const std::string* const found = find(name);
    return found != nullptr ? BytesView(*found) : BytesView();
  }

  /// 0 when the field is not there.
  [[nodiscard]] tree::Outcome<std::uint64_t> number(BytesView name, Code code) const {
    const std::string* const found = find(name);
    if (found == nullptr) return 0;
    const auto number = parse_number(*found);
    if (!number) return invalid(code, name);
    return *number;
  }

  /// False when the field is not there.
  [[nodiscard]] tree::Outcome<bool> flag(BytesView name) const {
    const std::string* const found = find(name);
    if (found == nullptr) return false;
    const auto flag = parse_bool(*found);
    if (!flag) return invalid(Code::kInvalidField, name);
    return *flag;
  }

 private:
  static constexpr const char* kNoType = "application/octet-stream";  // what a missing type counts as

  net::Form body_;
  net::Form query_;
};

#define V2_TRY(place, ...)                                          \
  do {                                                              \
    auto v2_try = (__VA_ARGS__);                                    \
    if (!v2_try) return std::unexpected(std::move(v2_try).error()); \
    place = *std::move(v2_try);                                     \
  } while (false)

/// The deadline that a TTL of so many seconds gives; Go's arithmetic wraps, ours stays at the end of the calendar.
WallTime deadline_after(WallTime now, std::uint64_t seconds) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const auto room = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() - now.ns);
  if (seconds > room / kSecond) return {std::numeric_limits<std::int64_t>::max()};
  return {now.ns + static_cast<std::int64_t>(seconds * kSecond)};
}

/// What a PUT is, by its conditions.
Command::Verb verb_of_put(const Form& form, std::optional<bool> prev_exist, std::uint64_t prev_index) {
  const bool compares = prev_index > 0 || !form.value("prevValue").empty();
  if (!prev_exist) return compares ? Command::COMPARE_AND_SWAP : Command::SET;
  if (!*prev_exist) return Command::CREATE;
  return compares ? Command::COMPARE_AND_SWAP : Command::UPDATE;
}

}  // namespace

tree::Outcome<KeyRequest> parse_key_request(const net::Request& request, WallTime now) {
  KeyRequest parsed;
  Form form;
  V2_TRY(form, Form::of(request));
  parsed.path = tree::clean_path(BytesView(request.path).substr(kPrefix.size()));
  std::uint64_t prev_index = 0;
  bool dir = false;
  V2_TRY(prev_index, form.number("prevIndex", Code::kIndexNotANumber));
  V2_TRY(parsed.wait_index, form.number("waitIndex", Code::kIndexNotANumber));
  V2_TRY(parsed.recursive, form.flag("recursive"));
  V2_TRY(parsed.sorted, form.flag("sorted"));
  V2_TRY(parsed.wait, form.flag("wait"));
  V2_TRY(dir, form.flag("dir"));
  V2_TRY(parsed.quorum, form.flag("quorum"));
  V2_TRY(parsed.stream, form.flag("stream"));
  if (parsed.wait && request.method != "GET") {
    return refuse(Code::kInvalidField, "\"wait\" can only be used with GET requests");
  }
  const std::string* const prev_value = form.find("prevValue");
  if (prev_value != nullptr && prev_value->empty()) {
    return refuse(Code::kPrevValueRequired, "\"prevValue\" cannot be empty");
  }
  V2_TRY(parsed.no_value_on_success, form.flag("noValueOnSuccess"));
  std::optional<std::uint64_t> ttl;
  if (!form.value("ttl").empty()) V2_TRY(ttl, form.number("ttl", Code::kTtlNotANumber));
  std::optional<bool> prev_exist;
  if (const std::string* const text = form.find("prevExist")) {
    prev_exist = parse_bool(*text);
    if (!prev_exist) return refuse(Code::kInvalidField, "invalid value for prevExist");
  }
  bool refresh = false;
  if (const std::string* const text = form.find("refresh")) {
    const std::optional<bool> flag = parse_bool(*text);
    if (!flag) return refuse(Code::kInvalidField, "invalid value for refresh");
    refresh = *flag;
    if (refresh && !form.value("value").empty()) {
      return refuse(Code::kValueOnRefresh, "A value was provided on a refresh");
    }
    if (refresh && !ttl) return refuse(Code::kNoTtlOnRefresh, "No TTL value set");
  }

  Command& command = parsed.command;
  command.set_path(parsed.path);
  command.set_value(Bytes(form.value("value")));
  command.set_dir(dir);
  command.set_recursive(parsed.recursive);
  command.set_refresh(refresh);
  command.set_prev_index(prev_index);
  if (prev_value != nullptr) command.set_prev_value(*prev_value);
  if (ttl) {
    command.set_deadline(deadline_after(now, *ttl).ns);
    command.set_ttl(static_cast<std::int64_t>(std::min<std::uint64_t>(*ttl, std::numeric_limits<std::int64_t>::max())));
  }
  if (request.method == "POST") {
    command.set_verb(Command::CREATE_IN_ORDER);
  } else if (request.method == "DELETE") {
    const bool compares = prev_index > 0 || prev_value != nullptr;
    command.set_verb(compares ? Command::COMPARE_AND_DELETE : Command::DELETE);
  } else {
    command.set_verb(verb_of_put(form, prev_exist, prev_index));
  }
  return parsed;
}

}  // namespace etcd::api::v2
