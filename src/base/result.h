// base/result.h - a value, or the Error that stands in its place.
//
// Thread:  any (values).
#pragma once
#include <expected>
#include <utility>

#include "base/error.h"

namespace etcd {

// std::expected alone is not nodiscard in GCC 12.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

/// Shorthand for `std::unexpected(Error{code, message})`.
inline std::unexpected<Error> failure(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

}  // namespace etcd

#define ETCD_CONCAT_INNER(left, right) left##right
#define ETCD_CONCAT(left, right) ETCD_CONCAT_INNER(left, right)
#define ETCD_TRY_INNER(result, declaration, ...)                              \
  auto result = (__VA_ARGS__);                                                \
  if (!result.has_value()) return std::unexpected(std::move(result).error()); \
  declaration = *std::move(result)

/// `ETCD_TRY(const Header header, decode_header(bytes))`: on error returns it to our caller, else declares the value.
#define ETCD_TRY(declaration, ...) ETCD_TRY_INNER(ETCD_CONCAT(etcd_try_, __LINE__), declaration, __VA_ARGS__)

/// `ETCD_TRY_VOID(file.sync())`: on error returns it to our caller; the value, if any, is dropped.
#define ETCD_TRY_VOID(...)                                              \
  do {                                                                  \
    if (auto etcd_try_void = (__VA_ARGS__); !etcd_try_void.has_value()) \
      return std::unexpected(std::move(etcd_try_void).error());         \
  } while (false)
