// Overlay: stands between the Store and the Disk, on the store's thread, and makes published
// generations look like files to the Store.
//
//   worker -> Lookup{path} -> redirect() -> Lookup{internal name} -> Store
//   Store  -> IoRequest -> [ internal name or a file of one: here | anything else: the disk ]
//
// An internal name is '\x01' and the generation in 32 hexadecimal digits. A client cannot ask for
// one: redirect() turns such a path of a worker into one that does not exist. The Node's own
// lookups do not pass through redirect(): it asks for internal names, and any other path is the
// file on the disk to it. Both meet in the Store's one object for that name, so a piece is in the
// arena once.
//
// A forgotten generation can be opened no more. Files of it that are open stay so until the Store
// closes them: what is read of them still is a Fetch, which the Node may answer with ESTALE.
//
// Versions: Version{device = published_device, inode = etag, size, modified, changed = number}.
// Pure.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/siphash.h"
#include "base/time.h"
#include "content/message.h"
#include "replica/overlay_messages.h"
#include "store/io.h"

namespace sluice::replica {

inline constexpr size_t internal_name_bytes = 33;
struct InternalName {
  std::array<char, internal_name_bytes> text{};
  [[nodiscard]] std::string_view view() const { return {text.data(), text.size()}; }
};
[[nodiscard]] InternalName internal_name(GenerationId generation);

struct OverlayConfig {
  uint32_t generations_max = 4'096;
  uint32_t max_open_files = 0;   // as in store::Config
  uint32_t reads_in_flight = 0;  // likewise
  uint32_t chunk_bytes = 0;
  SipKey path_key;
};

class Overlay {
 public:
  explicit Overlay(const OverlayConfig& config);
  ~Overlay();

  // From workers to the Store
  /// The path that a worker's lookup is for. The text lives at least until the lookup's answer.
  [[nodiscard]] std::string_view redirect(std::string_view path) const;
  /// Bytes reserved at construction, for the budget.
  [[nodiscard]] static uint64_t memory_bytes(const OverlayConfig& config);

  // Between Store and Disk
  /// Takes what the Store asks. Returns true when `request` is (now) for the disk.
  [[nodiscard]] bool handle_request(Instant now, store::IoRequest& request);
  /// Takes what the disk completed. Returns true when `completion` is (now) for the Store.
  [[nodiscard]] bool handle_disk(Instant now, store::IoCompletion& completion);
  /// Completions for the Store that the disk did not make.
  [[nodiscard]] bool poll_completion(store::IoCompletion& out);
  /// Requests for the disk that the Store did not make.
  [[nodiscard]] bool poll_disk(store::IoRequest& out);

  // To and from the Node
  /// Returns the name under which lookups of a path went until now, for Store::handle_change, when
  /// they go elsewhere from now on; empty: nothing changed its meaning. Valid until the next call,
  /// or, where it is the message's own path, as long as the message.
  /// An AskReaders is for whoever has the Store (Store::is_read of the internal name), and
  /// answered with tell_readers(); here it does nothing.
  [[nodiscard]] std::string_view handle(Instant now, const ToOverlay& message);
  /// Requires: it was asked, and is answered once.
  void tell_readers(const Readers& answer);
  [[nodiscard]] bool poll_message(FromOverlay& out);
  /// The Node is gone, and nobody writes on its behalf: every fetch ends with EIO, now and from now
  /// on.
  void handle_node_gone();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::replica
