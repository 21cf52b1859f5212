#include "nic/queue.h"

#include "nic/queue_impl.h"

namespace sluice::nic {

uint32_t Queue::receive(RxBurst& burst) {
  return impl_->receiver.receive(burst);
}
void Queue::release(RxBurst& burst) {
  Receiver::release(burst);
}
uint32_t Queue::room() const {
  return impl_->transmitter.room();
}
void Queue::send(const wire::TxFrame& frame) {
  impl_->transmitter.send(frame);
}
bool Queue::flush() {
  return impl_->transmitter.flush();
}
bool Queue::has_mail() const {
  return impl_->receiver.has_mail() || impl_->transmitter.has_mail();
}
void Queue::reap() {
  impl_->transmitter.reap();
}
uint64_t Queue::in_flight() const {
  return impl_->transmitter.in_flight();
}

}  // namespace sluice::nic
