#include "members/member.h"

#include <rapidjson/document.h>

#include "codec/json.h"

namespace etcd::members {
namespace {

std::unexpected<Error> not_a_member(const char* what) {
  return failure(ErrorCode::kInvalidArgument, std::string("member: ") + what);
}

/// Absent and null are an empty list.
Result<std::vector<std::string>> list_of(const rapidjson::Value& object, const char* name) {
  std::vector<std::string> texts;
  const auto at = object.FindMember(name);
  if (at == object.MemberEnd() || at->value.IsNull()) return texts;
  if (!at->value.IsArray()) return not_a_member("a list of URLs is not a list");
  for (const rapidjson::Value& text : at->value.GetArray()) {
    if (!text.IsString()) return not_a_member("a URL is not a string");
    texts.emplace_back(text.GetString(), text.GetStringLength());
  }
  return texts;
}

bool flag_of(const rapidjson::Value& object, const char* name) {
  const auto at = object.FindMember(name);
  return at != object.MemberEnd() && at->value.IsTrue();
}

}  // namespace

Bytes to_json(const Member& member) {
  Bytes out = "{\"id\":";
  codec::append_json_number(out, std::uint64_t{member.id});
  out += ",\"peerURLs\":";
  if (member.peer_urls.empty()) {
    out += "null";
  } else {
    codec::append_json_strings(out, member.peer_urls);
  }
  if (member.learner) out += ",\"isLearner\":true";
  if (!member.name.empty()) {
    out += ",\"name\":";
    codec::append_json_string(out, member.name);
  }
  if (!member.client_urls.empty()) {
    out += ",\"clientURLs\":";
    codec::append_json_strings(out, member.client_urls);
  }
  if (member.promote) out += ",\"isPromote\":true";
  out.push_back('}');
  return out;
}

Result<Member> member_from_json(BytesView json) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) return not_a_member("not a JSON object");
  Member member;
  const auto id = document.FindMember("id");
  if (id == document.MemberEnd() || !id->value.IsUint64()) return not_a_member("no id");
  member.id = id->value.GetUint64();
  ETCD_TRY(member.peer_urls, list_of(document, "peerURLs"));
  ETCD_TRY(member.client_urls, list_of(document, "clientURLs"));
  const auto name = document.FindMember("name");
  if (name != document.MemberEnd() && name->value.IsString()) {
    member.name.assign(name->value.GetString(), name->value.GetStringLength());
  }
  member.learner = flag_of(document, "isLearner");
  member.promote = flag_of(document, "isPromote");
  return member;
}

}  // namespace etcd::members
