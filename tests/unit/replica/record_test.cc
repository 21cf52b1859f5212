#include "replica/record.h"

#include <gtest/gtest.h>

#include <functional>

#include "plain_digests.h"

namespace sluice::replica {
namespace {

constexpr GenerationId generation{0xfffffffffffffff0, {7}};

Manifest manifest_of(std::string path, uint64_t size, uint32_t piece_bytes = 4096) {
  Manifest manifest{.generation = generation,
                    .path = std::move(path),
                    .size_bytes = size,
                    .modified_unix_s = -5,
                    .piece_bytes = piece_bytes};
  for (uint64_t i = 0; i < pieces_of(size, piece_bytes); ++i) {
    manifest.piece_crcs.push_back(static_cast<uint32_t>(0xdead0000 + i));
  }
  manifest.digest = digest_of(manifest, plain_digests);
  return manifest;
}

std::vector<std::byte> emitted(const Record& record) {
  std::vector<std::byte> bytes;
  emit(record, bytes);
  return bytes;
}

RecordError parsed(Bytes bytes, Record& out) {
  return parse(bytes, plain_digests, out);
}

RecordError error_of(Bytes bytes) {
  Record record;
  return parsed(bytes, record);
}

/// The error after `change` was made to what `record` emits.
RecordError error_after(const Record& record,
                        const std::function<void(std::vector<std::byte>&)>& change) {
  std::vector<std::byte> bytes = emitted(record);
  change(bytes);
  return error_of(bytes);
}

auto set(size_t at, uint8_t value) {
  return [=](std::vector<std::byte>& bytes) { bytes.at(at) = static_cast<std::byte>(value); };
}

TEST(Record, ManifestSurvivesTheWay) {
  const Manifest manifest = manifest_of("films/night of.mkv", 3 * 4096 + 1);
  Record out;
  ASSERT_EQ(parsed(emitted(manifest), out), RecordError::none);
  const auto& back = std::get<Manifest>(out);
  EXPECT_EQ(back.generation, manifest.generation);
  EXPECT_EQ(back.path, manifest.path);
  EXPECT_EQ(back.size_bytes, manifest.size_bytes);
  EXPECT_EQ(back.modified_unix_s, -5);
  EXPECT_EQ(back.piece_bytes, 4096U);
  EXPECT_EQ(back.piece_crcs, manifest.piece_crcs);
  EXPECT_EQ(back.digest, manifest.digest);
  EXPECT_EQ(back.etag(), manifest.etag());
}

TEST(Record, ManifestOfAnEmptyFileHasNoPieces) {
  Record out;
  ASSERT_EQ(parsed(emitted(manifest_of("empty", 0)), out), RecordError::none);
  EXPECT_EQ(std::get<Manifest>(out).pieces(), 0U);
}

TEST(Record, LargestManifestFits) {
  const Manifest manifest = manifest_of(std::string(published_path_max, 'p'),
                                        uint64_t{pieces_max} * (2U << 20), 2U << 20);
  const auto bytes = emitted(manifest);
  EXPECT_LE(bytes.size(), record_bytes_max);
  EXPECT_EQ(error_of(bytes), RecordError::none);
}

TEST(Record, AssignmentSurvivesTheWay) {
  Assignment assignment{.generation = generation, .revision = 0x80000001, .copies = 16};
  for (uint64_t i = 1; i <= holders_max; ++i) {
    ASSERT_TRUE(assignment.holders.push_back({~i}));
  }
  Record out;
  ASSERT_EQ(parsed(emitted(assignment), out), RecordError::none);
  const auto& back = std::get<Assignment>(out);
  EXPECT_EQ(back.generation, generation);
  EXPECT_EQ(back.revision, 0x80000001U);
  EXPECT_EQ(back.copies, 16);
  ASSERT_EQ(back.holders.size(), holders_max);
  for (size_t i = 0; i < holders_max; ++i) EXPECT_EQ(back.holders[i].value, ~(i + 1));
}

TEST(Record, MarkSurvivesTheWay) {
  for (const bool held : {true, false}) {
    const Mark mark{
        .generation = generation, .node = {9}, .epoch = 0xfedcba9876543210, .held = held};
    Record out;
    ASSERT_EQ(parsed(emitted(mark), out), RecordError::none);
    const auto& back = std::get<Mark>(out);
    EXPECT_EQ(back.generation, generation);
    EXPECT_EQ(back.node, NodeId{9});
    EXPECT_EQ(back.epoch, 0xfedcba9876543210);
    EXPECT_EQ(back.held, held);
  }
}

TEST(Record, CurrentSurvivesTheWay) {
  for (const GenerationId to : {generation, GenerationId{}}) {
    Record out;
    ASSERT_EQ(parsed(emitted(Current{"a/b", to, 77}), out), RecordError::none);
    const auto& back = std::get<Current>(out);
    EXPECT_EQ(back.path, "a/b");
    EXPECT_EQ(back.generation, to);
    EXPECT_EQ(back.supersedes, 77U);
  }
}

// The layout that docs/formats/replication.md prints.
TEST(Record, LayoutIsTheDocumentedOne) {
  const auto bytes = emitted(Mark{{0x1122334455667788, {0xa1}}, {0xb2}, 0xc3, true});
  const std::vector<uint8_t> expected{3,    1,    1,    0,    0,    0,    0,    0,  //
                                      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
                                      0xa1, 0,    0,    0,    0,    0,    0,    0,  //
                                      0xb2, 0,    0,    0,    0,    0,    0,    0,  //
                                      0xc3, 0,    0,    0,    0,    0,    0,    0};
  ASSERT_EQ(bytes.size(), expected.size());
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(load_u8(&bytes[i]), expected[i]) << i;
}

TEST(Record, EveryCutIsRefused) {
  Assignment assignment{.generation = generation, .copies = 2};
  ASSERT_TRUE(assignment.holders.push_back({1}));
  ASSERT_TRUE(assignment.holders.push_back({2}));
  const std::vector<Record> records{manifest_of("path", 9000), assignment,
                                    Mark{generation, {9}, 1, true}, Current{"path", generation, 0}};
  for (const Record& record : records) {
    auto bytes = emitted(record);
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_EQ(error_of(Bytes(bytes).first(length)), RecordError::truncated) << length;
    }
    bytes.push_back(std::byte{0});
    EXPECT_EQ(error_of(bytes), RecordError::bad_length);
  }
}

TEST(Record, UnknownKindAndVersionAreRefused) {
  const Mark mark{generation, {9}, 1, true};
  EXPECT_EQ(error_after(mark, set(0, 0)), RecordError::unknown_kind);
  EXPECT_EQ(error_after(mark, set(0, 5)), RecordError::unknown_kind);
  EXPECT_EQ(error_after(mark, set(1, 2)), RecordError::unknown_kind);
}

TEST(Record, BytesOfAnotherContentAreNotTheManifests) {
  const Manifest manifest = manifest_of("path", 3 * 4096);
  // Size (within the last piece), a checksum, the digest itself.
  EXPECT_EQ(error_after(manifest,
                        [](auto& bytes) {
                          bytes[24] = std::byte{0xff};
                          bytes[25] = std::byte{0x2f};
                        }),
            RecordError::bad_digest);
  EXPECT_EQ(error_after(manifest, set(81, 0x55)), RecordError::bad_digest);
  EXPECT_EQ(error_after(manifest, set(79, 0x55)), RecordError::bad_digest);
}

TEST(Record, ManifestWhosePiecesDoNotAddUpIsRefused) {
  const Manifest manifest = manifest_of("path", 3 * 4096);
  EXPECT_EQ(error_after(manifest, set(24, 1)), RecordError::bad_value) << "a byte more: 4 pieces";
  EXPECT_EQ(error_after(manifest, set(5, 0)), RecordError::bad_value) << "pieces of no bytes";
  EXPECT_EQ(error_after(manifest, set(43, 0xff)), RecordError::bad_value) << "too many pieces";
  EXPECT_EQ(error_after(manifest, set(41, 1)), RecordError::truncated) << "more than are here";
}

TEST(Record, GenerationWithoutNumberOrPublisherIsRefused) {
  const Mark no_number{{0, {7}}, {9}, 1, true};
  const Mark no_publisher{{7, {0}}, {9}, 1, true};
  const Mark no_node{generation, {0}, 1, true};
  EXPECT_EQ(error_of(emitted(no_number)), RecordError::bad_value);
  EXPECT_EQ(error_of(emitted(no_publisher)), RecordError::bad_value);
  EXPECT_EQ(error_of(emitted(no_node)), RecordError::bad_value);
  EXPECT_EQ(error_of(emitted(Current{"p", {0, {7}}, 0})), RecordError::bad_value);
  EXPECT_EQ(error_of(emitted(Current{"p", {7, {0}}, 0})), RecordError::bad_value);
}

TEST(Record, AssignmentWithImpossibleHoldersIsRefused) {
  Assignment assignment{.generation = generation, .copies = 2};
  ASSERT_TRUE(assignment.holders.push_back({1}));
  ASSERT_TRUE(assignment.holders.push_back({2}));
  EXPECT_EQ(error_after(assignment, set(2, 0)), RecordError::bad_value) << "no copies";
  EXPECT_EQ(error_after(assignment, set(2, 17)), RecordError::bad_value) << "too many copies";
  EXPECT_EQ(error_after(assignment, set(3, 0)), RecordError::bad_value) << "no holders";
  EXPECT_EQ(error_after(assignment, set(3, 255)), RecordError::bad_value) << "too many holders";
  EXPECT_EQ(error_after(assignment, set(3, 3)), RecordError::truncated);
  EXPECT_EQ(error_after(assignment, set(3, 1)), RecordError::bad_length);
  EXPECT_EQ(error_after(assignment, set(24, 2)), RecordError::bad_value) << "the same twice";
  EXPECT_EQ(error_after(assignment, set(24, 0)), RecordError::bad_value) << "nobody";
}

TEST(Record, MarkHasNoOtherValues) {
  const Mark mark{generation, {9}, 1, true};
  EXPECT_EQ(error_after(mark, set(2, 2)), RecordError::bad_value);
  EXPECT_EQ(error_after(mark, set(3, 1)), RecordError::bad_value);
  EXPECT_EQ(error_after(mark, set(7, 1)), RecordError::bad_value);
}

TEST(Record, PathsThatTheStoreWouldNotOpenAreRefused) {
  using namespace std::string_view_literals;
  for (const auto path :
       {""sv, "/a"sv, "a/"sv, "a//b"sv, "."sv, ".."sv, "a/../b"sv, "a/."sv, "a\0b"sv, "\1ab"sv}) {
    EXPECT_FALSE(is_published_path(path)) << path;
    EXPECT_EQ(error_of(emitted(Current{std::string(path), generation, 0})), RecordError::bad_path);
    EXPECT_EQ(error_of(emitted(manifest_of(std::string(path), 1))), RecordError::bad_path);
  }
  for (const auto path :
       {"a"sv, "a/b/c"sv, "..."sv, "a/..b"sv, ".hidden"sv, "\xc3\xa9t\xc3\xa9"sv}) {
    EXPECT_TRUE(is_published_path(path)) << path;
  }
  EXPECT_TRUE(is_published_path(std::string(published_path_max, 'a')));
  EXPECT_FALSE(is_published_path(std::string(published_path_max + 1, 'a')));
}

TEST(Record, DigestKnowsSizePieceSizeAndEveryChecksum) {
  const Manifest manifest = manifest_of("path", 3 * 4096);
  Manifest other = manifest;
  other.size_bytes -= 1;
  EXPECT_NE(digest_of(other, plain_digests), manifest.digest);
  other = manifest;
  other.piece_bytes += 1;
  EXPECT_NE(digest_of(other, plain_digests), manifest.digest);
  other = manifest;
  std::swap(other.piece_crcs[0], other.piece_crcs[1]);
  EXPECT_NE(digest_of(other, plain_digests), manifest.digest);
  other = manifest;
  other.path = "another name for the same bytes";
  other.generation.number = 1;
  EXPECT_EQ(digest_of(other, plain_digests), manifest.digest);
}

}  // namespace
}  // namespace sluice::replica
