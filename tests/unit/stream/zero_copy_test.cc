// No byte of content is copied by the process: shown by the addresses that the kernel is given, not
// by what the mover says of itself. This program's own recv() and sendmsg() stand before libc's
// and take down where content is put and taken from; whoever puts a buffer between the socket and
// the arena has the kernel write into that buffer, and the sums below fall short.
//
// The NIC's side: Transmit.ChunksStayPinnedUntilTheFrameIsFreed (tests/unit/nic) compares the
// address in the mbuf with the chunk's. RDMA's: dts/suites/test_rdma.py, test_no_byte_is_copied.

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "side.h"

namespace sluice::stream {
namespace {

struct Range {
  const std::byte* begin = nullptr;
  size_t length = 0;
  uint64_t seen = 0;  // bytes of it that the kernel read, or wrote

  void note(const void* at, size_t bytes) {
    const auto* const first = static_cast<const std::byte*>(at);
    if (first >= begin && first + bytes <= begin + length) seen += bytes;
  }
};
Range received_into;
Range sent_from;

}  // namespace
}  // namespace sluice::stream

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc's own names are reserved
extern "C" ssize_t recv(int socket, void* to, size_t length, int flags) {
  const ssize_t got = syscall(SYS_recvfrom, socket, to, length, flags, nullptr, nullptr);
  if (got > 0) sluice::stream::received_into.note(to, static_cast<size_t>(got));
  return got;
}

extern "C" ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  const ssize_t sent = syscall(SYS_sendmsg, socket, message, flags);
  auto left = static_cast<size_t>(std::max<ssize_t>(sent, 0));
  for (size_t i = 0; i < message->msg_iovlen && left > 0; ++i) {
    const size_t part = std::min(left, message->msg_iov[i].iov_len);
    sluice::stream::sent_from.note(message->msg_iov[i].iov_base, part);
    left -= part;
  }
  return sent;
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

namespace sluice::stream {
namespace {

struct ZeroCopy : testing::TestWithParam<bool> {
  void connect(Side& server, Side& client) {
    client.mover->submit(
        replica::Dial{.dial = 1, .address = std::string_view(server.mover->listening())});
    run_until({&server, &client},
              [&] { return server.link.serial != 0 && client.link.serial != 0; });
  }
  /// One chunk of the client's into one of the server's.
  void move(Side& server, Side& client, uint32_t from, uint32_t to) {
    server.mover->submit(replica::Grant{server.link, to % replica::grants_max, Side::extent(to)});
    run_until({&server, &client}, [&] { return server.count<replica::Granted>() > 0; });
    const auto window = server.last<replica::Granted>().window;
    client.mover->submit(replica::Write{client.link, 0, Side::extent(from), window, 7});
    run_until({&server, &client}, [&] {
      return server.count<replica::Landed>() > 0 && client.count<replica::WriteDone>() > 0;
    });
  }
};

TEST_P(ZeroCopy, ContentGoesFromItsChunkToItsChunk) {
  Side server{{.listen = "127.0.0.1:0"}};
  Side client{{.use_zero_copy = GetParam()}};
  connect(server, client);
  for (size_t i = 0; i < test_chunk_bytes; ++i) {
    client.chunk(3)[i] = static_cast<std::byte>(i * 31 >> 3);
  }
  received_into = {server.chunk(9).data(), test_chunk_bytes};
  sent_from = {client.chunk(3).data(), test_chunk_bytes};
  move(server, client, 3, 9);
  EXPECT_EQ(std::memcmp(server.chunk(9).data(), client.chunk(3).data(), test_chunk_bytes), 0);
  EXPECT_EQ(received_into.seen, test_chunk_bytes) << "into the granted chunk itself, once";
  EXPECT_EQ(sent_from.seen, test_chunk_bytes) << "out of the source chunk itself, once";
  // And the movers' counters say the same.
  EXPECT_EQ(server.mover->counts().bytes_placed, test_chunk_bytes);
  EXPECT_EQ(server.mover->counts().write_bytes_landed, test_chunk_bytes);
  EXPECT_EQ(client.mover->counts().bytes_taken, test_chunk_bytes);
  EXPECT_EQ(server.mover->counts().bytes_copied + client.mover->counts().bytes_copied, 0u);
}

INSTANTIATE_TEST_SUITE_P(, ZeroCopy, testing::Bool(), [](const auto& one) {
  return one.param ? "ByReference" : "ByTheKernelsCopy";
});

// The rule by which the movers tell: by the address, and by nothing else.
TEST(LiesIn, OnlyWholeRunsInsideTheChunks) {
  std::array<std::byte, 64> memory{};
  const content::ArenaView arena{.chunks = &memory[16], .chunk_count = 2, .chunk_bytes = 16};
  EXPECT_TRUE(mover::lies_in(arena, &memory[16], 32));
  EXPECT_TRUE(mover::lies_in(arena, &memory[47], 1));
  EXPECT_FALSE(mover::lies_in(arena, &memory[15], 2));
  EXPECT_FALSE(mover::lies_in(arena, &memory[47], 2));
  EXPECT_FALSE(mover::lies_in(arena, &memory[48], 1));
  EXPECT_FALSE(mover::lies_in(arena, &memory[16], SIZE_MAX));
}

}  // namespace
}  // namespace sluice::stream
