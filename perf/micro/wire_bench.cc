// What every MTU-sized frame costs where the port does neither checksums nor segmentation.

#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "cycles.h"
#include "wire/checksum.h"
#include "wire/segmentation.h"

namespace sluice::perf {
namespace {

void payload_sum(benchmark::State& state) {
  std::vector<std::byte> payload(static_cast<size_t>(state.range(0)), std::byte{0x5a});
  Cycles cycles;
  double sums = 0;
  for (auto _ : state) {
    cycles.start();
    for (int i = 0; i < 32; ++i) {
      uint16_t sum = wire::sum_bytes(payload);
      benchmark::DoNotOptimize(sum);
      benchmark::ClobberMemory();
    }
    cycles.stop();
    sums += 32;
  }
  cycles.report(state, "cycles/sum", sums);
}
BENCHMARK(payload_sum)->Arg(64)->Arg(1448)->Arg(8948);

wire::TxFrame train_of(uint32_t payload_bytes) {
  wire::TxFrame frame;
  frame.clear();
  frame.header.fill(std::byte{0});
  store_be16(frame.header.data() + 12, 0x0800);
  store_u8(frame.header.data() + 14, 0x45);
  store_be16(frame.header.data() + 16, static_cast<uint16_t>(52 + payload_bytes));
  store_u8(frame.header.data() + 23, 6);
  store_u8(frame.header.data() + 46, 0x80);
  frame.header_length = 66;
  frame.l2_length = 14;
  frame.l3_length = 20;
  frame.l4_length = 32;
  frame.segment_size = 1448;
  frame.payload_length = payload_bytes;
  return frame;
}

// Headers of one train: checksums of the payload apart.
void train_headers(benchmark::State& state) {
  const wire::TxFrame frame = train_of(44 * 1448);
  std::array<std::byte, wire::TxFrame::header_capacity> out;
  Cycles cycles;
  double frames = 0;
  for (auto _ : state) {
    cycles.start();
    const wire::Train train(frame);
    for (uint32_t i = 0; i < train.frame_count(); ++i) {
      benchmark::DoNotOptimize(train.emit(i, static_cast<uint16_t>(i), out));
    }
    cycles.stop();
    frames += train.frame_count();
  }
  cycles.report(state, "cycles/frame", frames);
}
BENCHMARK(train_headers);

}  // namespace
}  // namespace sluice::perf
