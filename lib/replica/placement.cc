#include "replica/placement.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/siphash.h"

namespace sluice::replica {

std::vector<NodeId> rendezvous_order(GenerationId generation, std::span<const NodeId> nodes) {
  // No secret: all nodes must agree.
  constexpr SipKey key{0x736c75696365, 0x706c6163656d656e};
  std::vector<std::pair<uint64_t, NodeId>> weighed;
  weighed.reserve(nodes.size());
  for (const NodeId node : nodes) {
    const std::array<uint64_t, 3> input{generation.number, generation.publisher.value, node.value};
    weighed.emplace_back(siphash24(key, std::as_bytes(std::span(input))), node);
  }
  std::sort(weighed.begin(), weighed.end());
  std::vector<NodeId> order;
  order.reserve(nodes.size());
  for (const auto& [weight, node] : weighed) order.push_back(node);
  return order;
}

}  // namespace sluice::replica
