#include "net/media_type.h"

#include <gtest/gtest.h>

namespace etcd::net {
namespace {

TEST(MediaType, AsGoReadsIt) {
  struct Row {
    const char* field;
    const char* type;
    const char* error;
  };
  for (const Row& row : {Row{"application/x-www-form-urlencoded", "application/x-www-form-urlencoded", ""},
                         {"Application/JSON; Charset=utf-8", "application/json", ""},
                         {"text/plain; a=\"b;\\\"c\"; d=e", "text/plain", ""},
                         {"text/plain;", "text/plain", ""},
                         {" text/plain ", "text/plain", ""},
                         {"text", "text", ""},
                         {"", "", "mime: no media type"},
                         {";a=b", "", "mime: no media type"},
                         {"text plain", "", "mime: expected slash after first token"},
                         {"text/", "", "mime: expected token after slash"},
                         {"text/plain x", "", "mime: unexpected content after media subtype"},
                         {"text/plain; charset", "text/plain", "mime: invalid media parameter"},
                         {"text/plain; =b", "text/plain", "mime: invalid media parameter"},
                         {"text/plain; a=\"b", "text/plain", "mime: invalid media parameter"},
                         {"text/plain; a=b; A=c", "", "mime: duplicate parameter name"}}) {
    const MediaType parsed = parse_media_type(row.field);
    EXPECT_EQ(parsed.type, row.type) << row.field;
    EXPECT_EQ(parsed.error, row.error) << row.field;
  }
}

}  // namespace
}  // namespace etcd::net
