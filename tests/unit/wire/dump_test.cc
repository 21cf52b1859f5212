#include "wire/dump.h"

#include <gtest/gtest.h>

#include <array>

#include "base/prng.h"
#include "bytes.h"
#include "wire/tcp.h"

namespace sluice::wire {
namespace {

std::string dump(const std::vector<std::byte>& frame) {
  std::array<char, dump_line_bytes> line;
  return std::string(dump_frame(frame, line));
}

TEST(Dump, ShowsASegment) {
  EXPECT_EQ(dump(bytes_of("020000000001 020000000002 8100 0007 0800"
                          "45 00 0036 0000 4000 40 06 0000 c0000201 c0000202"
                          "0050 c350 fffffff0 00000009 80 18 ffff 0000 0000"
                          "0101080a 00000001 00000002 6869")),
            "02:00:00:00:00:02 > 02:00:00:00:00:01 vlan 7 192.0.2.1.80 > 192.0.2.2.50000 [PA] seq "
            "4294967280 ack 9 win 65535 < ts 1 2 > len 2");
}

TEST(Dump, ShowsNeighborFrames) {
  EXPECT_EQ(dump(bytes_of("ffffffffffff 020000000002 0806"
                          "0001 0800 06 04 0001 020000000002 c0000202 000000000000 c0000201")),
            "02:00:00:00:00:02 > ff:ff:ff:ff:ff:ff arp who has 192.0.2.1 tell 192.0.2.2");
}

TEST(Dump, SurvivesAnyBytesAndAnyRoom) {
  Prng prng(7);
  std::vector<std::byte> frame = bytes_of("020000000001 020000000002 86dd 60000000 0028 3c 40");
  frame.resize(94);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> bytes(frame.begin(),
                                 frame.begin() + static_cast<std::ptrdiff_t>(prng.below(95)));
    for (size_t i = 12; i < bytes.size(); ++i) {
      if (prng.chance(1, 8)) bytes[i] = static_cast<std::byte>(prng.next());
    }
    std::vector<char> line(prng.below(200));
    EXPECT_LE(dump_frame(bytes, line).size(), line.size());
  }
}

}  // namespace
}  // namespace sluice::wire
