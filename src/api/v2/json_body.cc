#include "api/v2/json_body.h"

#include <fmt/format.h>
#include <rapidjson/document.h>

#include <algorithm>

#include "net/ascii.h"

namespace etcd::api::v2 {
namespace {

/// Bodies come from anybody: no recursion, however deep they are.
constexpr unsigned kWholeBody = rapidjson::kParseIterativeFlag;
constexpr unsigned kFirstValue = rapidjson::kParseIterativeFlag | rapidjson::kParseStopWhenDoneFlag;

/// `at_end`: what to say of a text that ends too early.
template <unsigned kFlags>
Result<void> parse(rapidjson::Document& document, BytesView body, const char* at_end) {
  document.Parse<kFlags>(body.data(), body.size());
  if (!document.HasParseError()) return {};
  const std::size_t offset = document.GetErrorOffset();
  if (offset >= body.size() || document.GetParseError() == rapidjson::kParseErrorStringMissQuotationMark) {
    return failure(ErrorCode::kInvalidArgument, at_end);
  }
  return failure(ErrorCode::kInvalidArgument,
                 fmt::format("invalid character '{}' at offset {} of the JSON input", body[offset], offset));
}

BytesView text_of(const rapidjson::Value& value) {
  return {value.GetString(), value.GetStringLength()};
}

const char* kind_of(const rapidjson::Value& value) {
  switch (value.GetType()) {
    case rapidjson::kNullType: return "null";
    case rapidjson::kFalseType:
    case rapidjson::kTrueType: return "bool";
    case rapidjson::kObjectType: return "object";
    case rapidjson::kArrayType: return "array";
    case rapidjson::kStringType: return "string";
    case rapidjson::kNumberType: return "number";
  }
  return "";
}

std::unexpected<Error> unfit(const rapidjson::Value& value, const char* for_what) {
  return failure(ErrorCode::kInvalidArgument,
                 fmt::format("json: cannot unmarshal {} into Go value of type {}", kind_of(value), for_what));
}

}  // namespace

Result<std::vector<std::string>> peer_urls_of(BytesView body) {
  rapidjson::Document document;
  ETCD_TRY_VOID(parse<kWholeBody>(document, body, "unexpected end of JSON input"));
  std::vector<std::string> urls;
  if (document.IsNull()) return urls;
  if (!document.IsObject()) return unfit(document, "struct { PeerURLs []string }");
  for (auto field = document.MemberBegin(); field != document.MemberEnd(); ++field) {
    if (!net::equal_fold(text_of(field->name), "peerURLs")) continue;
    urls.clear();
    if (field->value.IsNull()) continue;
    if (!field->value.IsArray()) return unfit(field->value, "[]string");
    for (const rapidjson::Value& url : field->value.GetArray()) {
      if (!url.IsString() && !url.IsNull()) return unfit(url, "string");
      urls.emplace_back(url.IsString() ? text_of(url) : BytesView());
    }
  }
  return urls;
}

Result<members::ClusterConfigChange> config_change_of(BytesView body) {
  members::ClusterConfigChange change;
  rapidjson::Document document;
  ETCD_TRY_VOID(parse<kFirstValue>(document, body, body.empty() ? "EOF" : "unexpected EOF"));
  if (document.IsNull()) return change;
  if (!document.IsObject()) return unfit(document, "map[string]interface {}");
  for (auto field = document.MemberBegin(); field != document.MemberEnd(); ++field) {
    if (!field->value.IsNumber()) continue;
    constexpr double kMax = 1e15;  // what is larger would not be a whole number any more
    const double number = std::clamp(field->value.GetDouble(), -kMax, kMax);
    const BytesView name = text_of(field->name);
    if (name == "activeSize") change.active_size = static_cast<std::int64_t>(number);
    if (name == "removeDelay") change.remove_delay_s = number;
    if (name == "syncInterval") change.sync_interval_s = number;
  }
  return change;
}

}  // namespace etcd::api::v2
