#include "control/serve_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/command_line.h"
#include "control/config_file.h"

namespace sluice::control {
namespace {

using testing::HasSubstr;

inet::Address address(std::string_view text) {
  inet::Address out;
  EXPECT_TRUE(inet::parse_address(text, out)) << text;
  return out;
}

Result<CommandLine> parse(std::vector<std::string> arguments) {
  return parse_command_line(arguments);
}

std::string refusal(std::vector<std::string> extra) {
  std::vector<std::string> arguments = {"serve", "--root", "/srv",        "--port",
                                        "tap",   "--ip",   "192.0.2.1/24"};
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  const Result<CommandLine> parsed = parse(arguments);
  return parsed ? "" : parsed.error().message;
}

TEST(ServeOptions, RootPortAndIpAreEnough) {
  const Result<CommandLine> line =
      parse({"serve", "--root", "/srv", "--port", "tap", "--ip", "192.0.2.1/24"});
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->action, CommandLine::Action::serve);
  const ServeOptions& options = line->options;
  EXPECT_EQ(options.root, "/srv");
  ASSERT_EQ(options.ports.size(), 1u);
  EXPECT_EQ(options.ports[0].spec, "tap");
  ASSERT_EQ(options.ports[0].addresses.size(), 1u);
  EXPECT_EQ(options.ports[0].addresses[0].address, address("192.0.2.1"));
  EXPECT_EQ(options.ports[0].addresses[0].length, 24);
  EXPECT_EQ(options.http_port, 80);
  EXPECT_FALSE(options.workers);
  EXPECT_FALSE(options.cache_bytes);
  EXPECT_EQ(options.polling, Polling::automatic);
  EXPECT_EQ(options.drain_timeout, 30_s);
  EXPECT_FALSE(options.no_huge);
}

TEST(ServeOptions, EverythingElse) {
  const Result<CommandLine> line = parse({"check",
                                          "--root=/srv",
                                          "--ip",
                                          "192.0.2.1/24",
                                          "2001:db8::1/64",
                                          "--port",
                                          "af_xdp:eth0",
                                          "--gateway",
                                          "192.0.2.254",
                                          "--gateway",
                                          "fe80::1",
                                          "--cores",
                                          "2-3",
                                          "--cache",
                                          "4G",
                                          "--chunk",
                                          "1M",
                                          "--mtu",
                                          "9000",
                                          "--http-port",
                                          "8080",
                                          "--vlan",
                                          "7",
                                          "--max-connections",
                                          "500",
                                          "--max-connections-per-source",
                                          "20",
                                          "--max-half-open-per-source",
                                          "5",
                                          "--source-prefix-v4",
                                          "24",
                                          "--source-prefix-v6",
                                          "56",
                                          "--stall-timeout",
                                          "10m",
                                          "--fast-open",
                                          "--max-mss",
                                          "1380",
                                          "--max-objects",
                                          "100",
                                          "--polling",
                                          "busy",
                                          "--no-huge",
                                          "--instance",
                                          "a_b-1",
                                          "--drivers-config",
                                          "/d",
                                          "--drain-timeout",
                                          "500ms",
                                          "--log-level",
                                          "debug",
                                          "--mac",
                                          "02:00:00:00:00:0a",
                                          "--",
                                          "--log-level=8",
                                          "-b",
                                          "0000:01:00.0"});
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->action, CommandLine::Action::check);
  const ServeOptions& options = line->options;
  const PortOptions& port = options.ports.at(0);
  EXPECT_EQ(port.addresses.size(), 2u);
  EXPECT_EQ(port.gateway4, address("192.0.2.254"));
  EXPECT_EQ(port.gateway6, address("fe80::1"));
  EXPECT_EQ(port.mtu, 9000);
  EXPECT_EQ(port.vlan, 7);
  EXPECT_EQ(port.mac, (std::array<uint8_t, 6>{2, 0, 0, 0, 0, 10}));
  EXPECT_EQ(options.cores, (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(options.cache_bytes, uint64_t{4} << 30);
  EXPECT_EQ(options.chunk_bytes, 1u << 20);
  EXPECT_EQ(options.http_port, 8080);
  EXPECT_EQ(options.source_connections_max, 20u);
  EXPECT_EQ(options.source_half_open_max, 5u);
  EXPECT_EQ(options.source_prefix_v4, 24);
  EXPECT_EQ(options.source_prefix_v6, 56);
  EXPECT_EQ(options.stall_timeout, 600_s);
  EXPECT_TRUE(options.fast_open);
  EXPECT_EQ(options.mss_max, 1380);
  EXPECT_EQ(options.connections_max, 500u);
  EXPECT_EQ(options.objects_max, 100u);
  EXPECT_EQ(options.polling, Polling::busy);
  EXPECT_TRUE(options.no_huge);
  EXPECT_EQ(options.instance, "a_b-1");
  EXPECT_EQ(options.drivers_directory, "/d");
  EXPECT_EQ(options.drain_timeout, 500_ms);
  EXPECT_EQ(options.log_level, LogLevel::debug);
  EXPECT_EQ(options.eal_arguments,
            (std::vector<std::string>{"--log-level=8", "-b", "0000:01:00.0"}));
}

TEST(ServeOptions, AddressesBelongToThePortBeforeThem) {
  const Result<CommandLine> line =
      parse({"serve", "--root", "/srv", "--port", "tap:a", "--ip", "192.0.2.1/24", "--vlan", "5",
             "--port", "tap:b", "--ip", "198.51.100.1/24", "--gateway", "198.51.100.2"});
  ASSERT_TRUE(line) << line.error().message;
  const auto& ports = line->options.ports;
  ASSERT_EQ(ports.size(), 2u);
  EXPECT_EQ(ports[0].spec, "tap:a");
  EXPECT_EQ(ports[0].vlan, 5);
  EXPECT_FALSE(ports[0].gateway4);
  EXPECT_EQ(ports[1].addresses[0].address, address("198.51.100.1"));
  EXPECT_FALSE(ports[1].vlan);
  EXPECT_TRUE(ports[1].gateway4);

  const Result<CommandLine> early = parse(
      {"serve", "--root", "/srv", "--ip", "192.0.2.1/24", "--port", "tap:a", "--port", "tap:b"});
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().message, HasSubstr("put it after the --port it belongs to"));
}

TEST(ServeOptions, WhatIsMissingIsNamed) {
  EXPECT_THAT(parse({"serve", "--port", "tap", "--ip", "192.0.2.1/24"}).error().message,
              HasSubstr("--root DIR is missing"));
  EXPECT_THAT(parse({"serve", "--root", "/srv"}).error().message,
              HasSubstr("--port SPEC is missing"));
  EXPECT_THAT(parse({"serve", "--root", "/srv", "--port", "tap"}).error().message,
              HasSubstr("port tap has no address"));
  EXPECT_FALSE(parse({}));
  EXPECT_FALSE(parse({"fly"}));
}

TEST(ServeOptions, RefusesWithOneLineThatNamesTheOption) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_THAT(refusal({"--ip", "10.0.0.1"}), HasSubstr("--ip: 10.0.0.1 needs its prefix length"));
  EXPECT_THAT(refusal({"--ip", "10.0.0.256/8"}), HasSubstr("is not an address"));
  EXPECT_THAT(refusal({"--ip", "192.0.2.1/25"}), HasSubstr("stands twice"));
  EXPECT_THAT(refusal({"--ip", "192.0.2.255/24"}), HasSubstr("broadcast"));
  EXPECT_THAT(refusal({"--ip", "224.0.0.1/4"}), HasSubstr("cannot be the address"));
  EXPECT_THAT(refusal({"--gateway", "10.1.1.1"}), HasSubstr("no --ip of port tap"));
  EXPECT_THAT(refusal({"--gateway", "192.0.2.2", "--gateway", "192.0.2.3"}),
              HasSubstr("has an IPv4 gateway already"));
  EXPECT_THAT(refusal({"--vlan", "4095"}), HasSubstr("--vlan: '4095' is not a number from 1"));
  EXPECT_THAT(refusal({"--mtu", "100"}), HasSubstr("--mtu"));
  EXPECT_THAT(refusal({"--mtu", "1000", "--ip", "2001:db8::1/64"}),
              HasSubstr("IPv6 needs at least 1280"));
  EXPECT_THAT(refusal({"--mac", "01:00:00:00:00:01"}), HasSubstr("unicast MAC"));
  EXPECT_THAT(refusal({"--http-port", "0"}), HasSubstr("--http-port"));
  EXPECT_THAT(refusal({"--cache", "lots"}), HasSubstr("--cache: 'lots' is not a size"));
  EXPECT_THAT(refusal({"--chunk", "3M"}), HasSubstr("power of two"));
  EXPECT_THAT(refusal({"--workers", "0"}), HasSubstr("--workers"));
  EXPECT_THAT(refusal({"--workers", "2", "--cores", "1"}), HasSubstr("exclude each other"));
  EXPECT_THAT(refusal({"--cores", "1-"}), HasSubstr("--cores"));
  EXPECT_THAT(refusal({"--polling", "lazy"}), HasSubstr("'lazy' is not busy or adaptive"));
  EXPECT_THAT(refusal({"--instance", "a/b"}), HasSubstr("--instance"));
  EXPECT_THAT(refusal({"--drain-timeout", "soon"}), HasSubstr("--drain-timeout"));
  EXPECT_THAT(refusal({"--colour"}), HasSubstr("--colour"));
  EXPECT_THAT(refusal({"stray"}), HasSubstr("stray"));
  for (const auto& row : option_rows()) {
    if (row.kind == OptionRow::Kind::flag) continue;
    EXPECT_NE(refusal({"--" + std::string(row.name)}), "") << row.name << " without a value";
    EXPECT_EQ(refusal({"--" + std::string(row.name)}).find('\n'), std::string::npos);
  }
}

TEST(ServeOptions, TheLastOfTwoCounts) {
  const auto line =
      parse({"serve", "--root", "/a", "--root", "/b", "--port", "tap", "--ip", "192.0.2.1/24"});
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->options.root, "/b");
}

TEST(ServeOptions, HelpAndVersionAreTexts) {
  EXPECT_THAT(parse({"--help"})->text, HasSubstr("serve"));
  EXPECT_THAT(parse({"serve", "--help"})->text, HasSubstr("--max-connections"));
  EXPECT_THAT(parse({"--version"})->text, HasSubstr("sluiced "));
  EXPECT_EQ(parse({"counters"})->action, CommandLine::Action::counters);
}

TEST(ConfigFile, HasTheNamesOfTheCommandLine) {
  const auto file = parse_config(R"(
root = "/srv"
workers = 2
no-huge = true
port = "tap"
ip = ["192.0.2.1/24", "2001:db8::1/64"]
eal = ["--log-level=8"]
)");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->eal_arguments, (std::vector<std::string>{"--log-level=8"}));
  const auto options = understand(file->settings);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->workers, 2u);
  EXPECT_TRUE(options->no_huge);
  EXPECT_EQ(options->ports.at(0).addresses.size(), 2u);
}

TEST(ConfigFile, SeveralPortsAreTables) {
  const auto file = parse_config(R"(
root = "/srv"
[[port]]
spec = "tap:a"
ip = "192.0.2.1/24"
[[port]]
ip = "198.51.100.1/24"
spec = "tap:b"
mtu = 9000
)");
  ASSERT_TRUE(file) << file.error().message;
  const auto options = understand(file->settings);
  ASSERT_TRUE(options) << options.error().message;
  ASSERT_EQ(options->ports.size(), 2u);
  EXPECT_EQ(options->ports[1].spec, "tap:b");
  EXPECT_EQ(options->ports[1].mtu, 9000);
}

TEST(ConfigFile, SaysLineAndKeyOfWhatIsWrong) {
  const auto message = [](std::string_view text) {
    const auto file = parse_config(text);
    return file ? "" : file.error().message;
  };
  EXPECT_THAT(message("root = "), HasSubstr("line 1"));
  EXPECT_THAT(message("\ncolour = 1"), HasSubstr("line 2: there is no option colour"));
  EXPECT_THAT(message("root = [\"a\", \"b\"]"), HasSubstr("root takes one value"));
  EXPECT_THAT(message("root = 1.5"), HasSubstr("must be a string"));
  EXPECT_THAT(message("no-huge = \"yes\""), HasSubstr("must be true or false"));
  EXPECT_THAT(message("[[port]]\nip = \"192.0.2.1/24\""), HasSubstr("needs a spec"));
  EXPECT_THAT(message("[[port]]\nspec = \"tap\"\nroot = \"/\""), HasSubstr("has no root"));
  EXPECT_THAT(message("ip = \"192.0.2.1/24\"\nport = [\"tap:a\", \"tap:b\"]"),
              HasSubstr("belongs into a [[port]] table"));
  EXPECT_THAT(message("config = \"other\""), HasSubstr("no option config"));
}

TEST(MergeSettings, TheCommandLineWins) {
  const std::vector<Setting> file = {
      {"root", "/file"}, {"cache", "1G"}, {"port", "tap"}, {"ip", "192.0.2.1/24"}, {"mtu", "9000"}};
  EXPECT_EQ(merge_settings(file, {{"root", "/line"}}), (std::vector<Setting>{{"cache", "1G"},
                                                                             {"port", "tap"},
                                                                             {"ip", "192.0.2.1/24"},
                                                                             {"mtu", "9000"},
                                                                             {"root", "/line"}}));
  // Another port comes with its own settings.
  EXPECT_EQ(
      merge_settings(file, {{"port", "net_null0"}, {"ip", "198.51.100.1/24"}}),
      (std::vector<Setting>{
          {"root", "/file"}, {"cache", "1G"}, {"port", "net_null0"}, {"ip", "198.51.100.1/24"}}));
  EXPECT_EQ(merge_settings(file, {{"mtu", "1500"}}).back(), (Setting{"mtu", "1500"}));
}

}  // namespace
}  // namespace sluice::control
