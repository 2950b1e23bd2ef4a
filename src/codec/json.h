// codec/json.h - JSON text as Go's encoder writes it, appended to a buffer.
//
// Thread:  any (functions on values).
// Source:  Go encoding/json: '<', '>' and '&' are escaped, U+2028 and U+2029 too, and a byte that is not UTF-8 becomes
//          U+FFFD. RapidJSON does none of the three, hence our own forty lines (docs/decisions/0003).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace etcd::codec {

/// Appends `text` in quotes.
void append_json_string(Bytes& out, BytesView text);

void append_json_number(Bytes& out, std::uint64_t number);
void append_json_number(Bytes& out, std::int64_t number);
/// The shortest text that reads back as `number`, as Go writes it; it must be finite.
void append_json_number(Bytes& out, double number);

/// Appends `["http://a:1","http://b:2"]`.
void append_json_strings(Bytes& out, const std::vector<std::string>& texts);

/// The same bytes with every sequence that is not UTF-8 replaced by U+FFFD, one for each byte, as Go does.
Bytes to_valid_utf8(BytesView text);

}  // namespace etcd::codec
