#include "control/replica_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::control {
namespace {

using testing::HasSubstr;

TEST(ReplicaReport, JoinsTheParts) {
  const Json rows = Json::parse(R"([{"path": ["abc", "def"]}, {"path": "x"}, {}])");
  const Json joined = join_paths(rows);
  EXPECT_EQ(joined[0]["path"], "abcdef");
  EXPECT_EQ(joined[1]["path"], "x");
  EXPECT_EQ(joined[2], Json::object());
}

TEST(ReplicaReport, SaysWhatIsDegraded) {
  const Json rows = Json::parse(R"([
    {"path": "a/b", "size": 3145728, "etag": "0123456789abcdef", "copies_asked": 3,
     "copies_verified": 2, "current": 1, "degraded": 1, "holders": "n0 n1 n2", "verified": "n0 n1"},
    {"path": "c", "copies_asked": 2, "copies_verified": 2, "current": 1, "degraded": 0,
     "holders": "n0 n1", "verified": "n0 n1"},
    {"path": "old", "current": 0, "degraded": 0}])");
  const std::string text = format_replicas(rows);
  EXPECT_THAT(text, HasSubstr("DEGRADED     2/3       3 MiB \"0123456789abcdef\" a/b\n"));
  EXPECT_THAT(text, HasSubstr("verified on: n0 n1; to be held by: n0 n1 n2\n"));
  EXPECT_THAT(text, HasSubstr("current      2/2"));
  EXPECT_THAT(text, HasSubstr("verified on: none"));
}

TEST(ReplicaReport, SaysWhichLinksThereAre) {
  const std::string text = format_peers(Json::parse(R"([
    {"name": "n1", "address": "10.0.0.1:7", "alive": 1, "rdma": 1, "tcp": 1, "srtt_us": 120,
     "bytes_to": 1048576},
    {"name": "", "node": "00ff", "alive": 1, "rdma": 0, "tcp": 0, "last_end": "unreachable",
     "why_no_rdma": "there is no RDMA device"},
    {"name": "n3", "alive": 0}])"));
  EXPECT_THAT(text, HasSubstr("rdma+tcp"));
  EXPECT_THAT(text, HasSubstr("120 us"));
  EXPECT_THAT(text, HasSubstr("1 MiB"));
  EXPECT_THAT(text, HasSubstr("00ff"));
  EXPECT_THAT(text, HasSubstr("no link"));
  EXPECT_THAT(text, HasSubstr("unreachable"));
  EXPECT_THAT(text, HasSubstr("no RDMA: there is no RDMA device\n"));
  EXPECT_THAT(text, HasSubstr("gone"));
}

TEST(ReplicaReport, ShowsHowFarATransferIs) {
  const std::string text = format_transfers(Json::parse(R"([
    {"path": "f", "direction": "to", "peer": "n1", "transport": "rdma", "bytes_done": 1,
     "bytes_total": 4, "bytes_per_s": 2097152, "lag_ms": 12},
    {"path": "empty", "direction": "from", "bytes_total": 0}])"));
  EXPECT_THAT(text, HasSubstr("   25%"));
  EXPECT_THAT(text, HasSubstr("2 MiB/s"));
  EXPECT_THAT(text, HasSubstr("12 ms"));
  EXPECT_THAT(text, HasSubstr("  100%"));
}

TEST(ReplicaReport, OneLineForAPublication) {
  EXPECT_EQ(format_publication(Json::parse(R"({"state": "ingesting", "copies_asked": 0})")),
            "ingesting");
  EXPECT_EQ(
      format_publication(Json::parse(
          R"({"state": "degraded", "copies_asked": 2, "copies_verified": 1, "detail": "n1 is gone"})")),
      "DEGRADED, 1 of 2 copies verified: n1 is gone");
}

}  // namespace
}  // namespace sluice::control
