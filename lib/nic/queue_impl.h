// QueueImpl: what stands behind a Queue: a Receiver, a Transmitter and the pins' way home.
#pragma once

#include "nic/pin_home.h"
#include "nic/receiver.h"
#include "nic/transmitter.h"

namespace sluice::nic {

class QueueImpl {
 public:
  struct Config {
    ReceiverConfig receiver;
    TransmitterConfig transmitter;
    content::ChunkPins* pins = nullptr;
    stats::Counters* counters = nullptr;
    uint32_t lcore = 0;
    rte_ring* returned = nullptr;
    const SendMemory* memory = nullptr;
  };
  explicit QueueImpl(const Config& config)
      : home(*config.pins, config.lcore, *config.returned),
        receiver(config.receiver, *config.counters),
        transmitter(config.transmitter, home, *config.memory, *config.counters) {}

  PinHome home;
  Receiver receiver;
  Transmitter transmitter;
};

}  // namespace sluice::nic
