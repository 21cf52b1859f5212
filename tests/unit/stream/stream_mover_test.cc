// The stand-in over loopback: two movers in one thread, and hostile peers made of plain sockets.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "side.h"
#include "stream/connection.h"
#include "stream/record.h"

namespace sluice::stream {
namespace {

using replica::LinkEnd;

mover::Options listening() {
  return {.listen = "127.0.0.1:0", .dial_patience = 500_ms};
}

struct StreamMoverTest : testing::Test {
  Side server{listening()};
  Side client{mover::Options{.dial_patience = 500_ms}};

  void dial() {
    client.mover->submit(
        replica::Dial{.dial = 7, .address = std::string_view(server.mover->listening())});
  }
  void connect() {
    const size_t served = server.count<replica::LinkUp>();
    const size_t dialled = client.count<replica::LinkUp>();
    dial();
    run_until({&server, &client}, [&] {
      return server.count<replica::LinkUp>() > served && client.count<replica::LinkUp>() > dialled;
    });
  }
  template <typename T>
  void wait_for(Side& side, size_t count = 1) {
    run_until({&server, &client}, [&] { return side.count<T>() >= count; });
  }
  replica::Window grant(Side& side, uint32_t number, const content::Extent& extent) {
    const size_t before = side.count<replica::Granted>();
    side.mover->submit(replica::Grant{side.link, number, extent});
    wait_for<replica::Granted>(side, before + 1);
    return side.last<replica::Granted>().window;
  }
  void write(Side& side, uint32_t number, const content::Extent& source,
             const replica::Window& window, uint32_t immediate = 0) {
    side.mover->submit(replica::Write{side.link, number, source, window, immediate});
  }
};

void fill(MutableBytes bytes, uint32_t seed) {
  uint64_t value = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    value = value * 6364136223846793005ULL + 1442695040888963407ULL;
    std::memcpy(&bytes[i], &value, 8);
  }
}
bool same(Bytes a, Bytes b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}
bool all_are(Bytes bytes, int value) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [&](std::byte each) { return each == static_cast<std::byte>(value); });
}

TEST_F(StreamMoverTest, ALinkComesUpOnBothSides) {
  connect();
  const auto dialled = client.last<replica::LinkUp>();
  EXPECT_TRUE(dialled.dialled);
  EXPECT_EQ(dialled.dial, 7u);
  EXPECT_EQ(dialled.lanes, 2u);
  EXPECT_EQ(dialled.write_bytes_max, test_chunk_bytes);
  EXPECT_FALSE(server.last<replica::LinkUp>().dialled);
  EXPECT_EQ(server.mover->counts().accepted, 1u);
  EXPECT_EQ(client.mover->counts().links_up, 1u);
}

TEST_F(StreamMoverTest, FramesArriveInOrderBothWays) {
  connect();
  for (uint32_t round = 0; round < 5; ++round) {
    for (uint32_t i = 0; i < replica::frames_in_flight_max; ++i) {
      replica::SendFrame frame{client.link, {}};
      frame.frame[0] = static_cast<std::byte>(round * 64 + i);
      frame.frame[255] = std::byte{0xee};
      client.mover->submit(frame);
      frame.link = server.link;
      server.mover->submit(frame);
    }
    wait_for<replica::FrameArrived>(server, (round + 1) * 64);
    wait_for<replica::FrameArrived>(client, (round + 1) * 64);
  }
  for (const Side* side : {&server, &client}) {
    const auto frames = side->all<replica::FrameArrived>();
    ASSERT_EQ(frames.size(), 320u);
    for (size_t i = 0; i < frames.size(); ++i) {
      EXPECT_EQ(frames[i].frame[0], static_cast<std::byte>(i));
      EXPECT_EQ(frames[i].frame[255], std::byte{0xee});
    }
  }
}

TEST_F(StreamMoverTest, AWriteLandsInTheGrantedExtent) {
  connect();
  fill(client.chunk(1), 1);
  const auto window = grant(server, 9, Side::extent(4, 5000, 100));
  EXPECT_EQ(window.length_bytes, 5000u);
  write(client, 33, Side::extent(1, 5000), window, 0xabcdef01);
  wait_for<replica::WriteDone>(client);
  wait_for<replica::Landed>(server);
  EXPECT_EQ(client.last<replica::WriteDone>().write, 33u);
  EXPECT_EQ(server.last<replica::Landed>().immediate, 0xabcdef01u);
  EXPECT_EQ(server.last<replica::Landed>().length_bytes, 5000u);
  EXPECT_TRUE(same(server.chunk(4).subspan(100, 5000), client.chunk(1).first(5000)));
  EXPECT_TRUE(all_are(server.chunk(4).first(100), 0));
  EXPECT_TRUE(all_are(server.chunk(4).subspan(5100), 0));
  server.mover->submit(replica::Revoke{server.link, 9});
  wait_for<replica::Revoked>(server);
  EXPECT_EQ(server.last<replica::Revoked>().grant, 9u);
  EXPECT_EQ(server.mover->counts().write_bytes_landed, 5000u);
  EXPECT_EQ(server.mover->counts().bytes_copied, 0u);
  EXPECT_EQ(server.mover->counts().grants, 0u);
}

TEST_F(StreamMoverTest, AsManyWritesAsMayBeUnderWayBothWays) {
  connect();
  for (Side* side : {&server, &client}) fill(side->chunk(65), side == &server ? 1 : 2);
  for (uint32_t i = 0; i < replica::grants_max; ++i) {
    const auto to_server = grant(server, i, Side::extent(i));
    const auto to_client = grant(client, i, Side::extent(i));
    EXPECT_LT(to_server.lane, 2u);
    write(client, i, Side::extent(65), to_server, i);
    write(server, i, Side::extent(65), to_client, i);
  }
  for (Side* side : {&server, &client}) {
    wait_for<replica::Landed>(*side, replica::grants_max);
    wait_for<replica::WriteDone>(*side, replica::writes_in_flight_max);
    Side& other = side == &server ? client : server;
    for (uint32_t i = 0; i < replica::grants_max; ++i) {
      EXPECT_TRUE(same(side->chunk(i), other.chunk(65))) << i;
    }
  }
}

TEST_F(StreamMoverTest, AWrongKeyEndsTheLinkAndTouchesNothing) {
  connect();
  fill(client.chunk(1), 1);
  auto window = grant(server, 0, Side::extent(4));
  window.key ^= 1u << 20;
  write(client, 0, Side::extent(1), window);
  wait_for<replica::LinkDown>(server);
  wait_for<replica::LinkDown>(client);
  EXPECT_EQ(server.last<replica::LinkDown>().reason, LinkEnd::protection_error);
  EXPECT_TRUE(all_are(server.chunk(4), 0));
  EXPECT_EQ(server.count<replica::Landed>(), 0u);
  std::string note;
  EXPECT_TRUE(server.mover->poll_note(note));
  EXPECT_NE(note.find("granted"), std::string::npos) << note;
}

TEST_F(StreamMoverTest, AWriteAfterTheRevokeEndsTheLink) {
  connect();
  fill(client.chunk(1), 1);
  const auto window = grant(server, 0, Side::extent(4));
  server.mover->submit(replica::Revoke{server.link, 0});
  wait_for<replica::Revoked>(server);
  write(client, 0, Side::extent(1), window);
  wait_for<replica::LinkDown>(server);
  EXPECT_EQ(server.last<replica::LinkDown>().reason, LinkEnd::protection_error);
  EXPECT_TRUE(all_are(server.chunk(4), 0));
}

TEST_F(StreamMoverTest, AWindowThatCannotBeEndsTheLinkThatWasToldIt) {
  connect();
  auto window = grant(server, 0, Side::extent(4));
  window.lane = 99;
  write(client, 0, Side::extent(1), window);
  wait_for<replica::LinkDown>(client);
  EXPECT_EQ(client.last<replica::LinkDown>().reason, LinkEnd::protection_error);
}

TEST_F(StreamMoverTest, CloseEndsBothSidesOnceAndALastFrameArrives) {
  connect();
  for (uint32_t i = 0; i < 40; ++i) {
    write(client, i, Side::extent(65), grant(server, i, Side::extent(i)), i);
  }
  replica::SendFrame last{client.link, {}};
  last.frame[0] = std::byte{99};
  client.mover->submit(last);
  client.mover->submit(replica::Close{client.link});
  client.mover->submit(last);  // ignored, as are these
  client.mover->submit(replica::Close{client.link});
  client.mover->submit(replica::Grant{client.link, 0, Side::extent(0)});
  wait_for<replica::LinkDown>(client);
  wait_for<replica::LinkDown>(server);
  EXPECT_EQ(client.last<replica::LinkDown>().reason, LinkEnd::closed_here);
  EXPECT_EQ(server.last<replica::LinkDown>().reason, LinkEnd::closed_by_peer);
  EXPECT_EQ(server.all<replica::FrameArrived>().size(), 1u);
  run_for({&server, &client}, 50_ms);
  for (const Side* side : {&server, &client}) {
    EXPECT_EQ(side->count<replica::LinkDown>(), 1u);
    EXPECT_TRUE(std::holds_alternative<replica::LinkDown>(side->events.back()));
    EXPECT_EQ(side->mover->counts().links_up, 0u);
    EXPECT_EQ(side->mover->counts().grants, 0u);
  }
}

TEST_F(StreamMoverTest, ASlotIsUsedAgainUnderAnotherSerial) {
  connect();
  const auto first = client.link;
  for (int i = 0; i < 20; ++i) {
    client.mover->submit(replica::Close{client.link});
    wait_for<replica::LinkDown>(client, client.count<replica::LinkUp>());
    wait_for<replica::LinkDown>(server, server.count<replica::LinkUp>());
    connect();
  }
  EXPECT_EQ(client.link.slot, first.slot);
  EXPECT_NE(client.link.serial, first.serial);
  client.mover->submit(replica::Close{first});  // of another life: ignored
  const auto window = grant(server, 0, Side::extent(4));
  write(client, 0, Side::extent(1), window, 5);
  wait_for<replica::Landed>(server);
}

TEST_F(StreamMoverTest, NothingIsToldOfALinkBetweenItsEndAndItsTaking) {
  connect();
  server.mover->submit(replica::Grant{server.link, 0, Side::extent(0)});
  server.mover->submit(replica::Close{server.link});
  run_until({&server}, [&] { return server.count<replica::LinkDown>() == 1; });
  EXPECT_TRUE(std::holds_alternative<replica::LinkDown>(server.events.back()));
}

// ------------------------------------------------------------------------------ dials that fail

TEST_F(StreamMoverTest, ADialToNobodySaysSo) {
  Descriptor unused(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(unused.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(unused.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string to = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  client.mover->submit(replica::Dial{.dial = 3, .address = to});
  wait_for<replica::DialFailed>(client);
  EXPECT_EQ(client.last<replica::DialFailed>().dial, 3u);
  EXPECT_NE(std::string(client.last<replica::DialFailed>().why).find("nothing listens"),
            std::string::npos);
}

TEST_F(StreamMoverTest, AnAddressThatIsNoneSaysSo) {
  for (const char* address : {"", "nowhere", ":1", "::1:80", "127.0.0.1:http", "127.0.0.1:99999"}) {
    const size_t before = client.count<replica::DialFailed>();
    client.mover->submit(replica::Dial{.dial = 3, .address = address});
    wait_for<replica::DialFailed>(client, before + 1);
    EXPECT_STREQ(client.last<replica::DialFailed>().why, "the address is no HOST:PORT") << address;
  }
}

struct Stranger {
  Descriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

  explicit Stranger(const Side& server) {
    const std::string& text = server.mover->listening();
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(text.substr(text.rfind(':') + 1))));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void say(Bytes bytes) {
    EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void say(const Greeting& greeting) {
    std::array<std::byte, greeting_bytes> bytes;
    emit(greeting, bytes);
    say(Bytes(bytes));
  }
  void say(const Header& header) {
    std::array<std::byte, header_bytes> bytes;
    emit(header, bytes);
    say(Bytes(bytes));
  }
  // The answer's greeting; the server runs meanwhile.
  Greeting answer(Side& server) {
    std::array<std::byte, greeting_bytes> bytes;
    ssize_t got = 0;
    run_until({&server}, [&] {
      got = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_PEEK);
      return got == static_cast<ssize_t>(bytes.size());
    });
    static_cast<void>(::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT));
    Greeting out;
    EXPECT_TRUE(parse(bytes, out));
    return out;
  }
  [[nodiscard]] bool is_closed() const {
    std::array<std::byte, 4096> bytes;
    ssize_t got = 0;
    do {
      got = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    } while (got > 0);
    return got == 0 || errno == ECONNRESET;
  }
};

TEST_F(StreamMoverTest, ASilentListenerIsGivenUp) {
  Descriptor silent(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(silent.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(silent.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_EQ(listen(silent.get(), 4), 0);
  const std::string to = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  client.mover->submit(replica::Dial{.dial = 3, .address = to});
  wait_for<replica::DialFailed>(client);
  EXPECT_NE(std::string(client.last<replica::DialFailed>().why).find("no answer"),
            std::string::npos);
}

TEST_F(StreamMoverTest, WhereEveryLinkIsTakenTheDialSaysSo) {
  Side narrow{mover::Options{.listen = "127.0.0.1:0", .links_max = 1, .dial_patience = 500_ms}};
  const std::string to = narrow.mover->listening();
  client.mover->submit(replica::Dial{.dial = 1, .address = to});
  run_until({&narrow, &client}, [&] { return client.count<replica::LinkUp>() == 1; });
  client.mover->submit(replica::Dial{.dial = 2, .address = to});
  run_until({&narrow, &client}, [&] { return client.count<replica::DialFailed>() == 1; });
  EXPECT_NE(std::string(client.last<replica::DialFailed>().why).find("no room"), std::string::npos);
  narrow.mover->submit(replica::Dial{.dial = 5, .address = to});
  run_until({&narrow, &client}, [&] { return narrow.count<replica::DialFailed>() == 1; });
}

// ---------------------------------------------------------------------------------- strangers

TEST_F(StreamMoverTest, RubbishIsTurnedAway) {
  Stranger stranger(server);
  stranger.say(as_byte_span(
      "GET / HTTP/1.1\r\nHost: somebody.example\r\nAccept: everything at all\r\n\r\n"));
  run_until({&server}, [&] { return stranger.is_closed(); });
  EXPECT_EQ(server.mover->counts().refused, 1u);
  EXPECT_TRUE(server.events.empty());
}

TEST_F(StreamMoverTest, ADataConnectionNeedsTheTokenOfALinkThatJoins) {
  Stranger control(server);
  control.say(Greeting{.role = Role::control, .lanes = 2, .write_bytes_max = 1});
  Greeting told = control.answer(server);
  Stranger thief(server);
  Greeting claim{.role = Role::data, .lane = 0, .lanes = 2, .token = told.token};
  claim.token[3] ^= std::byte{1};
  thief.say(claim);
  run_until({&server}, [&] { return thief.is_closed(); });
  claim.token = told.token;
  Stranger first(server);
  first.say(claim);
  EXPECT_EQ(first.answer(server).token, told.token);
  Stranger twice(server);  // that lane is taken
  twice.say(claim);
  run_until({&server}, [&] { return twice.is_closed(); });
  EXPECT_EQ(server.count<replica::LinkUp>(), 0u);
  // The second lane never comes: all of it is given up.
  run_until({&server}, [&] { return control.is_closed() && first.is_closed(); });
  EXPECT_TRUE(server.events.empty());
}

TEST_F(StreamMoverTest, TheSilentKeepNobodyOut) {
  std::vector<Stranger> silent;
  for (int i = 0; i < 150; ++i) {
    silent.emplace_back(server);
    server.turn();
  }
  connect();
  EXPECT_EQ(client.count<replica::LinkUp>(), 1u);
  run_until({&server, &client}, [&] {
    return std::all_of(silent.begin(), silent.end(), [](auto& each) { return each.is_closed(); });
  });
}

// A peer of plain sockets whose link is up: it sends what it likes, when it likes.
struct HandMadePeer : StreamMoverTest {
  Stranger control{server};
  std::optional<Stranger> data;

  void SetUp() override {
    control.say(Greeting{.role = Role::control, .lanes = 1, .write_bytes_max = test_chunk_bytes});
    const Greeting told = control.answer(server);
    data.emplace(server);
    data->say(Greeting{.role = Role::data, .lanes = 1, .token = told.token});
    static_cast<void>(data->answer(server));
    run_until({&server}, [&] { return server.count<replica::LinkUp>() == 1; });
  }
  Header header_for(const replica::Window& window, uint32_t length) const {
    return {.kind = Kind::write,
            .length_bytes = length,
            .address = window.address,
            .key = window.key,
            .immediate = 11};
  }
};

TEST_F(HandMadePeer, RevokedInMidWriteNoByteMoreArrives) {
  const auto window = grant(server, 0, Side::extent(4));
  const std::vector<std::byte> half(500, std::byte{1});
  data->say(header_for(window, 1000));
  data->say(half);
  run_until({&server}, [&] { return server.chunk(4)[499] == std::byte{1}; });
  server.mover->submit(replica::Revoke{server.link, 0});
  run_until({&server}, [&] { return server.count<replica::Revoked>() == 1; });
  std::fill(server.chunk(4).begin(), server.chunk(4).end(), std::byte{7});
  data->say(half);
  run_until({&server}, [&] { return server.mover->counts().bytes_drained == 500; });
  EXPECT_TRUE(all_are(server.chunk(4), 7));
  EXPECT_EQ(server.count<replica::Landed>(), 0u);
  // The link goes on.
  const auto next = grant(server, 0, Side::extent(4));
  data->say(header_for(next, 500));
  data->say(half);
  run_until({&server}, [&] { return server.count<replica::Landed>() == 1; });
  EXPECT_TRUE(all_are(server.chunk(4).first(500), 1));
}

TEST_F(HandMadePeer, DeathInMidWriteEndsTheLinkOnce) {
  const auto window = grant(server, 0, Side::extent(4));
  data->say(header_for(window, 1000));
  data->say(std::vector<std::byte>(500, std::byte{1}));
  run_until({&server}, [&] { return server.chunk(4)[499] == std::byte{1}; });
  data.reset();
  run_until({&server}, [&] { return server.count<replica::LinkDown>() == 1; });
  EXPECT_EQ(server.last<replica::LinkDown>().reason, LinkEnd::closed_by_peer);
  run_until({&server}, [&] { return control.is_closed(); });
  EXPECT_EQ(server.count<replica::Landed>(), 0u);
  EXPECT_EQ(server.count<replica::LinkDown>(), 1u);
}

TEST_F(HandMadePeer, RubbishOnAConnectionOfTheLinkEndsIt) {
  data->say(std::vector<std::byte>(32, std::byte{'x'}));
  run_until({&server}, [&] { return server.count<replica::LinkDown>() == 1; });
  EXPECT_EQ(server.last<replica::LinkDown>().reason, LinkEnd::malformed);
}

TEST_F(HandMadePeer, AWriteOnTheControlConnectionEndsIt) {
  const auto window = grant(server, 0, Side::extent(4));
  control.say(header_for(window, 100));
  run_until({&server}, [&] { return server.count<replica::LinkDown>() == 1; });
  EXPECT_EQ(server.last<replica::LinkDown>().reason, LinkEnd::malformed);
}

TEST_F(HandMadePeer, OneWhoReadsNothingHoldsUpOnlyItsOwnLink) {
  // Its window closes after what the sockets take; the writes wait, bounded.
  for (uint32_t i = 0; i < replica::writes_in_flight_max; ++i) {
    write(server, i, Side::extent(i),
          {.address = 0, .key = 1, .lane = 0, .length_bytes = test_chunk_bytes});
  }
  run_for({&server}, 100_ms);
  EXPECT_LT(server.count<replica::WriteDone>(), replica::writes_in_flight_max);
  const auto stuck = server.link;
  connect();
  const auto window = grant(server, 0, Side::extent(4));
  write(client, 0, Side::extent(1), window, 5);
  wait_for<replica::Landed>(server);
  server.mover->submit(replica::Close{stuck});
  run_until({&server}, [&] { return server.count<replica::LinkDown>() == 1; });
}

TEST_F(HandMadePeer, ManyFramesOfAPeerThatIgnoresCreditsWaitInItsSocket) {
  std::vector<std::byte> frame(header_bytes + replica::frame_bytes);
  emit(Header{.kind = Kind::frame, .length_bytes = replica::frame_bytes},
       std::span<std::byte, header_bytes>(frame.data(), header_bytes));
  for (int i = 0; i < 500; ++i) control.say(frame);
  replica::LinkEvent event;
  ASSERT_TRUE(server.mover->poll(event));  // one is taken at a time
  EXPECT_TRUE(std::holds_alternative<replica::FrameArrived>(event));
  EXPECT_LE(server.mover->counts().frames_received, 2u);
  run_until({&server}, [&] { return server.count<replica::FrameArrived>() == 499; });
}

}  // namespace
}  // namespace sluice::stream
