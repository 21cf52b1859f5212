// ObjectTable: the versions of files that the Store knows, found by path or by id.
//
// At most one object is *current* for a path. An object that was superseded (its path leads to
// another file now) is still found by its id, and can still be read while its file is open. An
// object is *stale* once its file was seen to have changed: it is read no more.
#pragma once

#include "base/siphash.h"
#include "store/io.h"
#include "store/path_pool.h"

namespace sluice::store {

class ObjectTable {
 public:
  struct Object {
    SipDigest path_key;
    PathPool::Path path;
    Version version;
    uint64_t etag = 0;
    uint32_t generation = 0;  // of the slot; 0: never used
    bool taken = false;
    bool current = false;
    bool stale = false;
    bool orphaned = false;   // the file was unlinked since: one change of ctime is forgiven
    bool validated = false;  // false: ask the disk at the next lookup, however fresh
    bool wants_file = false;
    Instant validated_at;
    uint64_t epoch = 0;  // in which it was validated
    uint32_t file = none;
    uint32_t holds = 0;  // pieces under way: may not be recycled
    uint32_t first_piece = none;
    uint32_t pieces = 0;
    uint32_t waiting_first = none;  // pieces that wait for the file, by Piece::turn
    uint32_t waiting_last = none;
    uint32_t next_wanting = none;  // other objects that wait for the same opening
    uint32_t hash_next = none;
    Link recency;
  };

  explicit ObjectTable(uint32_t size)
      : objects_(size), pool_(size), by_path_(size), paths_(path_blocks(size)) {}

  /// The current object for a path; none if there is none.
  [[nodiscard]] uint32_t find(const SipDigest& path_key) const {
    uint32_t slot = by_path_.first(path_key.low);
    while (slot != none && objects_[slot].path_key != path_key) slot = objects_[slot].hash_next;
    return slot;
  }
  /// The slot of a known version; none when it was recycled.
  [[nodiscard]] uint32_t find(content::ObjectId id) const {
    if (id.slot >= objects_.size() || id.is_none()) return none;
    const Object& object = objects_[id.slot];
    return object.taken && object.generation == id.generation ? id.slot : none;
  }
  [[nodiscard]] bool has_room(size_t path_length_bytes) const {
    return pool_.available() > 0 && paths_.has_room(path_length_bytes);
  }
  /// Makes it the current object of its path. Requires: has_room(); no current object for the path.
  [[nodiscard]] uint32_t add(const SipDigest& path_key, std::string_view path,
                             const Version& version) {
    const uint32_t slot = pool_.take();
    ASSERT(slot != none);
    Object& object = objects_[slot];
    const uint32_t generation = object.generation + 1;
    object = Object{};
    object.generation = generation == 0 ? 1 : generation;
    object.taken = object.current = true;
    object.path_key = path_key;
    object.path = paths_.add(path);
    object.version = version;
    by_path_.insert(objects_, path_key.low, slot);
    recency_.push_back(objects_, slot);
    return slot;
  }
  /// Its path leads elsewhere now, or nobody knows where.
  void supersede(uint32_t slot) {
    Object& object = objects_[slot];
    if (!object.current) return;
    by_path_.remove(objects_, object.path_key.low, slot);
    object.current = false;
  }
  /// Requires: no holds, no file, no pieces.
  void remove(uint32_t slot) {
    Object& object = objects_[slot];
    ASSERT(object.holds == 0 && object.file == none && object.pieces == 0 && !object.wants_file);
    supersede(slot);
    recency_.remove(objects_, slot);
    paths_.remove(object.path);
    object.taken = false;
    pool_.give_back(slot);
  }
  void touch(uint32_t slot) {
    recency_.remove(objects_, slot);
    recency_.push_back(objects_, slot);
  }
  [[nodiscard]] uint32_t oldest() const { return recency_.first(); }
  [[nodiscard]] uint32_t next_oldest(uint32_t slot) const { return objects_[slot].recency.next; }
  /// Requires: out holds path_bytes_max bytes.
  [[nodiscard]] std::string_view path(uint32_t slot, std::span<char> out) const {
    return paths_.text(objects_[slot].path, out);
  }

  [[nodiscard]] Object& operator[](uint32_t slot) { return objects_[slot]; }
  [[nodiscard]] const Object& operator[](uint32_t slot) const { return objects_[slot]; }
  [[nodiscard]] content::ObjectId id(uint32_t slot) const {
    return {slot, objects_[slot].generation};
  }
  [[nodiscard]] uint32_t in_use() const { return pool_.in_use(); }
  [[nodiscard]] uint32_t size() const { return pool_.size(); }

  /// Two blocks a path, and always room for one of the longest.
  [[nodiscard]] static uint32_t path_blocks(uint32_t objects) {
    return 2 * objects + PathPool::blocks_for(path_bytes_max);
  }

 private:
  FixedArray<Object> objects_;
  IndexPool pool_;
  HashChains<Object, &Object::hash_next> by_path_;
  IndexList<Object, &Object::recency> recency_;  // used longest ago first
  PathPool paths_;
};

}  // namespace sluice::store
