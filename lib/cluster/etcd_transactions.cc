// EtcdRegistry: what a request becomes, by what is known: one transaction, or an answer at once.

#include <utility>

#include "cluster/etcd_registry_parts.h"

namespace sluice::cluster {
namespace {

std::string bytes_of(const Record& record) {
  std::vector<std::byte> bytes;
  replica::emit(record, bytes);
  return std::string(as_text(bytes));
}

}  // namespace

// Requests

const EtcdRegistry::Parts::Known* EtcdRegistry::Parts::known(const std::string& key) const {
  const auto found = cache.find(key);
  return found == cache.end() ? nullptr : &found->second;
}

int64_t EtcdRegistry::Parts::revision_of(const std::string& key) const {
  const Known* there = known(key);
  return there == nullptr ? 0 : there->mod_revision;
}

template <typename T>
const T* EtcdRegistry::Parts::record(const std::string& key) const {
  const Known* there = known(key);
  if (there == nullptr) return nullptr;
  const auto* any = std::get_if<Record>(&there->entry);
  return any == nullptr ? nullptr : std::get_if<T>(any);
}

Asked EtcdRegistry::Parts::transaction(const RegistryRequest& request) {
  return std::visit([&](const auto& one) { return transaction_of(one); }, request);
}

Asked EtcdRegistry::Parts::transaction_of(const replica::PutRecord& put_record) {
  const std::string key = keys.of(put_record.record);
  PutOp op{key, bytes_of(put_record.record), 0};
  if (std::holds_alternative<replica::Manifest>(put_record.record)) {
    // Immutable: where it is, it is this one.
    return {.body = txn_request({{.key = key, .mod_revision = 0}}, {op}), .done_if_not = true};
  }
  if (const auto* next = std::get_if<replica::Assignment>(&put_record.record)) {
    const auto* there = record<replica::Assignment>(key);
    if (there != nullptr && there->revision >= next->revision) {
      const bool is_same = bytes_of(*there) == op.value;
      return {.outcome = is_same ? RegistryOutcome::done : RegistryOutcome::conflict};
    }
    return {.body = txn_request({{.key = key, .mod_revision = revision_of(key)}}, {op})};
  }
  if (const auto* mark = std::get_if<replica::Mark>(&put_record.record)) {
    if (mark->node != options.self.node) return {.outcome = RegistryOutcome::refused};
    op.lease = lease;
    return {.body = txn_request({}, {op})};
  }
  return {.outcome = RegistryOutcome::refused};  // Current: by Commit alone
}

Asked EtcdRegistry::Parts::transaction_of(const replica::DropRecord& drop) {
  if (drop.what == replica::DropRecord::What::mark) {
    const std::string key = keys.mark(drop.generation, options.self.node);
    return {.body = txn_request({}, {DeleteOp{key, ""}})};
  }
  std::vector<Compare> compares;
  if (const auto* manifest = record<replica::Manifest>(keys.manifest(drop.generation))) {
    const std::string key = keys.current(manifest->path);
    const auto* current = record<replica::Current>(key);
    if (current != nullptr && current->generation == drop.generation) {
      return {.outcome = RegistryOutcome::conflict};
    }
    compares.push_back({.key = key, .mod_revision = revision_of(key)});
  }
  const std::string marks = keys.marks(drop.generation);
  return {.body = txn_request(compares, {DeleteOp{keys.manifest(drop.generation), ""},
                                         DeleteOp{keys.assignment(drop.generation), ""},
                                         DeleteOp{marks, end_of_prefix(marks)}})};
}

Asked EtcdRegistry::Parts::transaction_of(const replica::Commit& commit) {
  const std::string key = keys.current(commit.path);
  const auto* there = record<replica::Current>(key);
  const replica::GenerationId now = there == nullptr ? replica::GenerationId{} : there->generation;
  if (now != commit.expected) return {.outcome = RegistryOutcome::conflict};
  std::vector<Compare> compares{{.key = key, .mod_revision = revision_of(key)}};
  for (const replica::Mark& mark : commit.marks) {
    // The very mark: of this epoch, and held.
    compares.push_back({.what = Compare::What::value,
                        .key = keys.mark(mark.generation, mark.node),
                        .value = bytes_of(mark)});
  }
  const replica::Current next{commit.path, commit.generation, commit.expected.number};
  return {.body = txn_request(compares, {PutOp{key, bytes_of(next), 0}})};
}

}  // namespace sluice::cluster
