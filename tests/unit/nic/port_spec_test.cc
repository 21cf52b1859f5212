#include "nic/port_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::nic {
namespace {

using testing::HasSubstr;

PortSpec parsed(std::string_view text, uint32_t index = 0) {
  auto spec = parse_port_spec(text, index);
  EXPECT_TRUE(spec) << text << ": " << (spec ? "" : spec.error().message);
  return spec.value_or(PortSpec{});
}

TEST(PortSpec, TapHasADefaultName) {
  const PortSpec spec = parsed("tap", 3);
  EXPECT_EQ(spec.device, "net_tap3");
  EXPECT_EQ(spec.interface, "sluice3");
  EXPECT_EQ(spec.arguments, "iface=sluice3");
  EXPECT_EQ(spec.profile, "tap");
  EXPECT_FALSE(spec.is_pci);
}

TEST(PortSpec, TapTakesAName) {
  EXPECT_EQ(parsed("tap:movies").interface, "movies");
}

TEST(PortSpec, SocketsStandOnAnInterface) {
  EXPECT_EQ(parsed("af_xdp:veth0", 1).device, "net_af_xdp1");
  EXPECT_EQ(parsed("af_xdp:veth0").arguments, "iface=veth0");
  EXPECT_EQ(parsed("af_packet:eth0").profile, "af_packet");
}

TEST(PortSpec, MemifTakesASocket) {
  const PortSpec spec = parsed("memif:/run/vpp/memif.sock");
  EXPECT_EQ(spec.arguments, "role=client,socket=/run/vpp/memif.sock,socket-abstract=no");
  EXPECT_EQ(spec.device, "net_memif0");
}

TEST(PortSpec, PciAddressesAreMadeCanonical) {
  EXPECT_EQ(parsed("0000:01:00.0").device, "0000:01:00.0");
  EXPECT_EQ(parsed("1:0.1").device, "0000:01:00.1");
  EXPECT_EQ(parsed("0000:C1:00.0,large_llq_hdr=1").device, "0000:c1:00.0");
  EXPECT_EQ(parsed("0000:c1:00.0,large_llq_hdr=1").arguments, "large_llq_hdr=1");
  EXPECT_TRUE(parsed("0000:01:00.0").is_pci);
  EXPECT_TRUE(parsed("0000:01:00.0").profile.empty());
}

TEST(PortSpec, AnyVdevPasses) {
  const PortSpec spec = parsed("net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap");
  EXPECT_EQ(spec.device, "net_pcap0");
  EXPECT_EQ(spec.profile, "pcap");
  EXPECT_EQ(spec.arguments, "rx_pcap=in.pcap,tx_pcap=out.pcap");
  EXPECT_EQ(parsed("net_virtio_user2,path=/dev/vhost-net").profile, "virtio_user");
  EXPECT_EQ(parsed("net_null", 4).device, "net_null4");
  EXPECT_EQ(parsed("net_af_packet0,iface=eth7").interface, "eth7");
}

TEST(PortSpec, RejectsWithTheForms) {
  for (const char* text : {"",
                           "eth0",
                           "tap0:x:y",
                           "af_xdp",
                           "af_xdp:",
                           "af_packet:",
                           "memif:",
                           "tap:a name",
                           "tap:a/b",
                           "tap:..",
                           "tap:a,b=c",
                           "tap:0123456789abcdef",
                           "0000:01:00.8",
                           "0000:01:00",
                           "00000:g1:00.0",
                           "net_",
                           "net_tap-0",
                           "net_tap0 x",
                           "\n",
                           "memif:/a,b"}) {
    const auto spec = parse_port_spec(text, 0);
    ASSERT_FALSE(spec) << text;
    EXPECT_THAT(spec.error().message, HasSubstr("port ")) << text;
    EXPECT_EQ(spec.error().message.find('\n', 8), std::string::npos);
  }
  const std::string longest(107, 's');
  EXPECT_TRUE(parse_port_spec("memif:" + longest, 0));
  EXPECT_FALSE(parse_port_spec("memif:" + longest + "s", 0));
}

TEST(PortSpec, NumaNodeOfWhatIsNotThereIsUnknown) {
  EXPECT_EQ(numa_node(parsed("0000:fe:1f.7")), -1);
  EXPECT_EQ(numa_node(parsed("net_null0")), -1);
}

}  // namespace
}  // namespace sluice::nic
