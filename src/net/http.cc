#include "net/http.h"

#include "net/ascii.h"

namespace etcd::net {

const std::string* Headers::find(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (equal_fold(field, name)) return &value;
  }
  return nullptr;
}

}  // namespace etcd::net
