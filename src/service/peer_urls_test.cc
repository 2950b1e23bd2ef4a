#include "service/peer_urls.h"

#include <gtest/gtest.h>

namespace etcd::service {
namespace {

TEST(PeerUrls, AreTrimmedAndSorted) {
  EXPECT_EQ(checked_peer_urls({" http://b:2\n", "https://a:1", "unix://x"}).value(),
            (std::vector<std::string>{"http://b:2", "https://a:1", "unix://x"}));
  EXPECT_EQ(checked_peer_urls({"http://[::1]:2380"}).value(), std::vector<std::string>{"http://[::1]:2380"});
}

TEST(PeerUrls, AreRefused) {
  struct Row {
    std::vector<std::string> urls;
    const char* message;
  };
  const Row rows[] = {
      {{}, "no valid URLs given"},
      {{""}, "URL scheme must be http, https, unix, or unixs: "},
      {{"127.0.0.1:2380"}, "URL scheme must be http, https, unix, or unixs: 127.0.0.1:2380"},
      {{"ftp://a:1"}, "URL scheme must be http, https, unix, or unixs: ftp://a:1"},
      {{"http://a"}, "URL address does not have the form \"host:port\": http://a"},
      {{"http://[::1]"}, "URL address does not have the form \"host:port\": http://[::1]"},
      {{"http://::1:1"}, "URL address does not have the form \"host:port\": http://::1:1"},
      {{"http://a:1", "http://b:1/x"}, "URL must not contain a path: http://b:1/x"},
  };
  for (const Row& row : rows) {
    const auto checked = checked_peer_urls(row.urls);
    ASSERT_FALSE(checked.has_value()) << row.message;
    EXPECT_EQ(checked.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(checked.error().message, row.message);
  }
}

}  // namespace
}  // namespace etcd::service
