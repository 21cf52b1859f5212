// PieceTable: the pieces of objects that are in the arena or on their way there, by object and
// number. An entry exists while a piece is wanted, filled, or ready.
//
//   queued (for a chunk) -> opening (waits for its file) -> reading -> ready
#pragma once

#include "content/ids.h"
#include "store/links.h"

namespace sluice::store {

enum class PieceState : uint8_t { queued, opening, reading, ready };

class PieceTable {
 public:
  struct Piece {
    uint32_t object = none;  // slot
    content::PieceNumber number = 0;
    content::Extent extent;
    uint64_t waiting = 0;     // workers that asked and were not answered yet
    uint32_t done_bytes = 0;  // reading
    uint8_t attempts = 0;     // reading: reads that brought nothing new
    PieceState state = PieceState::queued;
    bool demanded = false;  // not only read ahead
    uint32_t hash_next = none;
    Link turn;       // in one of the queues: for a chunk, for the file, for the disk
    Link in_object;  // the other pieces of the object
    Link in_chunk;   // the other ready pieces in the chunk
  };
  using Queue = IndexList<Piece, &Piece::turn>;

  explicit PieceTable(uint32_t size) : pieces_(size), pool_(size), index_(size) {}

  [[nodiscard]] uint32_t find(uint32_t object, content::PieceNumber number) const {
    uint32_t entry = index_.first(hash(object, number));
    while (entry != none && (pieces_[entry].object != object || pieces_[entry].number != number)) {
      entry = pieces_[entry].hash_next;
    }
    return entry;
  }
  /// The table is as large as there can be pieces: it is never full.
  [[nodiscard]] uint32_t add(uint32_t object, content::PieceNumber number) {
    const uint32_t entry = pool_.take();
    ASSERT(entry != none);
    pieces_[entry] = Piece{};
    pieces_[entry].object = object;
    pieces_[entry].number = number;
    index_.insert(pieces_, hash(object, number), entry);
    return entry;
  }
  void remove(uint32_t entry) {
    index_.remove(pieces_, hash(pieces_[entry].object, pieces_[entry].number), entry);
    pool_.give_back(entry);
  }
  [[nodiscard]] Piece& operator[](uint32_t entry) { return pieces_[entry]; }
  [[nodiscard]] const Piece& operator[](uint32_t entry) const { return pieces_[entry]; }
  [[nodiscard]] FixedArray<Piece>& entries() { return pieces_; }
  [[nodiscard]] uint32_t in_use() const { return pool_.in_use(); }
  [[nodiscard]] uint32_t size() const { return pool_.size(); }

  /// Links `entry` as the first of the list that starts at `first`; used with in_object, in_chunk.
  void link(uint32_t& first, uint32_t entry, Link Piece::*member) {
    pieces_[entry].*member = {first, none};
    if (first != none) (pieces_[first].*member).previous = entry;
    first = entry;
  }
  void unlink(uint32_t& first, uint32_t entry, Link Piece::*member) {
    const Link at = pieces_[entry].*member;
    (at.previous != none ? (pieces_[at.previous].*member).next : first) = at.next;
    if (at.next != none) (pieces_[at.next].*member).previous = at.previous;
    pieces_[entry].*member = {};
  }

 private:
  // Indexed by our own numbers, not by a peer's bytes: a multiplicative hash does.
  [[nodiscard]] static uint64_t hash(uint32_t object, content::PieceNumber number) {
    const uint64_t mixed = (uint64_t{object} << 32 | number) * 0x9e3779b97f4a7c15ULL;
    return mixed ^ (mixed >> 32);
  }

  FixedArray<Piece> pieces_;
  IndexPool pool_;
  HashChains<Piece, &Piece::hash_next> index_;
};

}  // namespace sluice::store
