// net/media_type.h - the Content-Type field, read as Go's mime.ParseMediaType reads it.
//
// Thread:  any (pure function).
// Source:  RFC 9110 8.3.1; Go's mime package, whose messages clients see in the v2 API's error 210.
#pragma once
#include <string>
#include <string_view>

namespace etcd::net {

struct MediaType {
  std::string type;   // in lower case, "application/x-www-form-urlencoded"; empty when there is none to be read
  std::string error;  // what is wrong with the field; a bad parameter leaves the type as it is
};

MediaType parse_media_type(std::string_view field);

}  // namespace etcd::net
