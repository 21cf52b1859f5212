#include "cluster/etcd_messages.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "cluster/base64.h"
#include "digest/digest.h"

namespace sluice::cluster {
namespace {

using replica::GenerationId;
using replica::Mark;
using replica::Record;

const Keys keys("test");
constexpr GenerationId generation{0x1122, {0x33}};

std::string bytes_of(const Record& record) {
  std::vector<std::byte> bytes;
  replica::emit(record, bytes);
  return std::string(as_text(bytes));
}

Entry understood(std::string_view key, std::string_view value) {
  return understand(keys, key, value, digest::digests());
}

// RFC 4648 section 10.
TEST(Base64, MatchesTheRfc) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : vectors) {
    EXPECT_EQ(to_base64(plain), text);
    EXPECT_EQ(from_base64(text), plain);
  }
}

TEST(Base64, AllBytesSurvive) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(from_base64(to_base64(all)), all);
}

TEST(Base64, WhatIsNoneIsRefused) {
  for (const char* text : {"Zg", "Zg=", "Z===", "=Zg=", "Zg==Zg==", "Zm9*", "Zm 9", "Zg=A"}) {
    EXPECT_FALSE(from_base64(text)) << text;
  }
}

TEST(EtcdKeys, AreWhereOperatorsLook) {
  EXPECT_EQ(keys.node({0x33}), "/sluice/v1/test/node/0000000000000033");
  EXPECT_EQ(keys.manifest(generation), "/sluice/v1/test/manifest/00000000000011220000000000000033");
  EXPECT_EQ(keys.mark(generation, {0xa}),
            "/sluice/v1/test/mark/00000000000011220000000000000033/000000000000000a");
  EXPECT_EQ(keys.current("films/a b.mkv"), "/sluice/v1/test/current/films/a b.mkv");
}

TEST(EtcdKeys, EndOfPrefix) {
  EXPECT_EQ(end_of_prefix("ab"), "ac");
  EXPECT_EQ(end_of_prefix("a\xff"), "b");
  EXPECT_EQ(end_of_prefix("\xff"), std::string(1, '\0'));
}

TEST(EtcdEntries, ANodeSurvivesTheWay) {
  const replica::NodeSeen node{.node = {0x33},
                               .epoch = 0xffffffffffffffff,
                               .name = "a \"quoted\" name",
                               .address = "[::1]:7000",
                               .hold_bytes_max = uint64_t{1} << 63};
  const Entry entry = understood(keys.node(node.node), node_value(node));
  const auto* back = std::get_if<replica::NodeSeen>(&entry);
  ASSERT_NE(back, nullptr);
  EXPECT_EQ(back->node, node.node);
  EXPECT_EQ(back->epoch, node.epoch);
  EXPECT_EQ(back->name, node.name);
  EXPECT_EQ(back->address, node.address);
  EXPECT_EQ(back->hold_bytes_max, node.hold_bytes_max);
}

TEST(EtcdEntries, ARecordIsTakenUnderItsOwnKeyOnly) {
  const Mark mark{generation, {0xa}, 7, true};
  const Entry entry = understood(keys.mark(generation, {0xa}), bytes_of(mark));
  EXPECT_TRUE(std::holds_alternative<Record>(entry));
  for (const std::string& key :
       {keys.mark(generation, {0xb}), keys.manifest(generation), keys.mark({1, {2}}, {0xa}),
        keys.prefix() + "mark/", std::string("/elsewhere")}) {
    EXPECT_TRUE(std::holds_alternative<Unknown>(understood(key, bytes_of(mark)))) << key;
  }
}

TEST(EtcdEntries, RubbishIsUnknown) {
  const std::string node = keys.node({0x33});
  for (const char* value :
       {"", "{", "null", "[]", "7", "{}", R"({"epoch":"1"})", R"({"epoch":"x","room":"1"})",
        R"({"epoch":1,"room":1})", R"({"epoch":"-1","room":"1"})",
        R"({"epoch":"99999999999999999999","room":"1"})"}) {
    EXPECT_TRUE(std::holds_alternative<Unknown>(understood(node, value))) << value;
  }
  const std::string good = node_value({.node = {0x33}, .epoch = 1});
  for (const char* id : {"", "33", "000000000000003g", "00000000000000330", "0000000000000000"}) {
    EXPECT_TRUE(std::holds_alternative<Unknown>(understood(keys.prefix() + "node/" + id, good)))
        << id;
  }
  EXPECT_TRUE(std::holds_alternative<Unknown>(understood(keys.manifest(generation), "rubbish")));
}

TEST(EtcdAnswers, AreUnderstood) {
  const auto range = parse_range(
      R"({"header":{"cluster_id":"1","revision":"12"},"kvs":[{"key":"YQ==","mod_revision":"7",)"
      R"("value":"Yg=="},{"key":"Yw==","mod_revision":"9"}],"more":true,"count":"3"})");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->revision, 12);
  EXPECT_TRUE(range->more);
  ASSERT_EQ(range->keys.size(), 2U);
  EXPECT_EQ(range->keys[0].key, "a");
  EXPECT_EQ(range->keys[0].value, "b");
  EXPECT_EQ(range->keys[0].mod_revision, 7);
  EXPECT_EQ(range->keys[1].value, "") << "left out when it is empty";

  EXPECT_EQ(parse_txn(R"({"header":{"revision":"1"},"succeeded":true})"), true);
  EXPECT_EQ(parse_txn(R"({"header":{"revision":"1"}})"), false) << "false is left out";
  EXPECT_EQ(parse_grant(R"({"header":{},"ID":"7587862072290049543","TTL":"10"})"),
            7587862072290049543);
  EXPECT_EQ(parse_keepalive("{\"result\":{\"header\":{},\"ID\":\"1\",\"TTL\":\"10\"}}\n"), 10);
  EXPECT_EQ(parse_keepalive(R"({"result":{"header":{},"ID":"1"}})"), 0) << "run out";

  const auto watch = parse_watch(
      R"({"result":{"header":{"revision":"5"},"events":[{"kv":{"key":"YQ==","mod_revision":"5",)"
      R"("value":"Yg=="}},{"type":"DELETE","kv":{"key":"YQ==","mod_revision":"6"}}]}})");
  ASSERT_TRUE(watch);
  ASSERT_EQ(watch->changes.size(), 2U);
  EXPECT_FALSE(watch->changes[0].deleted);
  EXPECT_TRUE(watch->changes[1].deleted);
  const auto compacted = parse_watch(
      R"({"result":{"header":{"revision":"5"},"canceled":true,"compact_revision":"4"}})");
  ASSERT_TRUE(compacted);
  EXPECT_TRUE(compacted->canceled);

  const Failure failure =
      parse_failure(R"({"error":"etcdserver: requested lease not found\n","code":5})");
  EXPECT_EQ(failure.code, 5);
  EXPECT_EQ(failure.message, "etcdserver: requested lease not found ");
  EXPECT_EQ(parse_failure("<html>").code, 2);
}

TEST(EtcdAnswers, RubbishIsNothing) {
  for (const char* text :
       {"", "{", "null", "[]", "\"x\"", "7", "{}", R"({"header":7})", R"({"result":[]})",
        R"({"header":{"revision":"x"}})", R"({"header":{"revision":"1"},"kvs":7})",
        R"({"header":{"revision":"1"},"kvs":[7]})",
        R"({"header":{"revision":"1"},"kvs":[{"key":"*"}]})",
        R"({"header":{"revision":"1"},"kvs":[{"value":"YQ=="}]})",
        R"({"header":{"revision":"99999999999999999999"}})", R"({"header":{"revision":1.5}})",
        R"({"result":{"header":{"revision":"1"},"events":[{}]}})"}) {
    EXPECT_FALSE(parse_range(text)) << text;
    EXPECT_FALSE(parse_grant(text)) << text;
    EXPECT_FALSE(parse_watch(text)) << text;
  }
}

// Every answer cut and with bytes changed: nothing crashes, nothing throws.
TEST(EtcdAnswers, DamageIsSurvived) {
  const std::string whole =
      R"({"result":{"header":{"revision":"5"},"created":true,"events":[{"type":"DELETE","kv":)"
      R"({"key":"YQ==","mod_revision":"5","value":"Yg=="}}]},"header":{"revision":"5"},"kvs":)"
      R"([{"key":"YQ==","mod_revision":"7"}],"ID":"3","error":"x","code":5,"succeeded":true})";
  Prng prng(4);
  size_t parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = whole.substr(0, prng.chance(1, 4) ? prng.below(whole.size()) : whole.size());
    for (uint64_t changes = prng.below(4); changes > 0 && !text.empty(); --changes) {
      text[prng.below(text.size())] = static_cast<char>(prng.below(256));
    }
    for (const bool good : {parse_range(text).has_value(), parse_watch(text).has_value(),
                            parse_grant(text).has_value(), parse_txn(text).has_value(),
                            parse_keepalive(text).has_value()}) {
      if (good) ++parsed;
    }
    (void)parse_failure(text);
  }
  EXPECT_GT(parsed, 1'000U) << "some of it was still good";
}

}  // namespace
}  // namespace sluice::cluster
