#include "cut.h"

#include <array>
#include <cstring>

#include "inside_engine.h"
#include "wire/checksum.h"
#include "wire/segmentation.h"

namespace sluice::sim {

thread_local bool inside_engine = false;

std::vector<Frame> cut(const wire::TxFrame& frame, const content::ArenaView& arena) {
  std::vector<std::byte> payload;
  for (const content::Extent& extent : frame.payload) {
    const MutableBytes bytes = arena.bytes(extent);
    payload.insert(payload.end(), bytes.begin(), bytes.end());
  }
  std::vector<Frame> frames;
  const wire::Train train(frame);
  for (uint32_t i = 0; i < train.frame_count(); ++i) {
    const wire::PayloadRange range = train.payload(i);
    const Bytes part = Bytes(payload).subspan(range.offset_bytes, range.length_bytes);
    std::array<std::byte, wire::TxFrame::header_capacity> header;
    const size_t length = train.emit(i, wire::sum_bytes(part), header);
    Frame out(length + part.size());
    std::memcpy(out.data(), header.data(), length);
    if (!part.empty()) std::memcpy(out.data() + length, part.data(), part.size());
    frames.push_back(std::move(out));
  }
  return frames;
}

}  // namespace sluice::sim
