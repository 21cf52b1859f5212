#include "nic/driver_profile.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include <toml++/toml.h>

#include "nic/limits.h"
#include "nic/paths.h"

namespace sluice::nic {
namespace {

namespace fs = std::filesystem;

/// Takes values out of a profile's tables and remembers the first complaint. Every key has to be
/// there and no other: a misspelt key would otherwise be a silent default.
class Reader {
 public:
  Reader(const toml::table& table, std::string path) : table_(table), path_(std::move(path)) {}

  std::string text(std::string_view section, std::string_view key) {
    return value<std::string>(section, key, "a string");
  }
  bool flag(std::string_view section, std::string_view key) {
    return value<bool>(section, key, "true or false");
  }
  std::vector<std::string> texts(std::string_view section, std::string_view key) {
    std::vector<std::string> items;
    const toml::node* node = find(section, key);
    if (node == nullptr) return items;
    const toml::array* array = node->as_array();
    if (array == nullptr) {
      complain(section, key, "must be a list of strings");
      return items;
    }
    for (const toml::node& item : *array) {
      const auto word = item.value_exact<std::string>();
      if (!word) {
        complain(section, key, "must be a list of strings");
        break;
      }
      items.push_back(*word);
    }
    return items;
  }

  struct Range {
    int64_t min = 0;
    int64_t max = 0;
  };
  template <typename T>
  T number(std::string_view section, std::string_view key, Range range) {
    const auto got = value<int64_t>(section, key, "a whole number");
    if (error_.empty() && (got < range.min || got > range.max)) {
      complain(section, key,
               "must be from " + std::to_string(range.min) + " to " + std::to_string(range.max));
    }
    return static_cast<T>(got);
  }

  template <typename T>
  struct Choice {
    std::string_view word;
    T meaning;
  };
  template <typename T>
  T choice(std::string_view section, std::string_view key,
           std::initializer_list<Choice<T>> choices) {
    const std::string word = text(section, key);
    std::string words;
    for (const Choice<T>& one : choices) {
      if (one.word == word) return one.meaning;
      words += (words.empty() ? "" : ", ") + std::string(one.word);
    }
    complain(section, key, "must be one of: " + words);
    return choices.begin()->meaning;
  }

  Offloads offloads(std::string_view section, std::string_view key) {
    Offloads set;
    for (const std::string& word : texts(section, key)) {
      if (word == "rx_checksum") {
        set.rx_checksum = true;
      } else if (word == "tx_checksum") {
        set.tx_checksum = true;
      } else if (word == "tcp_segmentation") {
        set.tcp_segmentation = true;
      } else if (word == "chained_mbufs") {
        set.chained_mbufs = true;
      } else {
        complain(section, key,
                 "knows rx_checksum, tx_checksum, tcp_segmentation, chained_mbufs, not " + word);
      }
    }
    return set;
  }

  /// Complains of keys that nothing asked for.
  void finish() {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      const toml::table* section = node.as_table();
      if (section == nullptr) {
        if (!seen_.contains("." + name)) complain("", name, "is not a key of profiles");
        continue;
      }
      for (const auto& [inner, ignored] : *section) {
        const std::string inner_name(inner.str());
        std::string path = name;
        path.append(".").append(inner_name);
        if (!seen_.contains(path)) {
          complain(name, inner_name, "is not a key of profiles");
        }
      }
    }
  }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  const toml::node* find(std::string_view section, std::string_view key) {
    seen_.insert(std::string(section) + "." + std::string(key));
    const toml::table* table = section.empty() ? &table_ : table_[section].as_table();
    const toml::node* node = table != nullptr ? table->get(key) : nullptr;
    if (node == nullptr) complain(section, key, "is missing");
    return node;
  }
  template <typename T>
  T value(std::string_view section, std::string_view key, std::string_view kind) {
    const toml::node* node = find(section, key);
    if (node == nullptr) return T{};
    const auto got = node->value_exact<T>();
    if (!got) complain(section, key, "must be " + std::string(kind));
    return got.value_or(T{});
  }
  void complain(std::string_view section, std::string_view key, const std::string& what) {
    if (!error_.empty()) return;
    error_ = path_ + ": " + std::string(section) + (section.empty() ? "" : ".") + std::string(key) +
             " " + what;
  }

  const toml::table& table_;
  std::string path_;
  std::string error_;
  std::set<std::string> seen_;
};

void read_queues(Reader& reader, DriverProfile& profile) {
  constexpr Reader::Range descriptors{32, 8192};
  profile.rx_descriptors = reader.number<uint16_t>("queues", "rx_descriptors", descriptors);
  profile.rx_rings = reader.number<uint16_t>("queues", "rx_rings", {1, 2});
  profile.tx_descriptors = reader.number<uint16_t>("queues", "tx_descriptors", descriptors);
  profile.burst = reader.number<uint16_t>("queues", "burst", {1, burst_max});
  profile.pairs_max = reader.number<uint16_t>("queues", "pairs_max", {1, workers_max});
  profile.equal_pairs = reader.flag("queues", "equal_pairs");
  profile.pairs_of_interface = reader.flag("queues", "pairs_of_interface");
}

void read_offloads(Reader& reader, DriverProfile& profile) {
  profile.use = reader.offloads("offloads", "use");
  profile.avoid = reader.offloads("offloads", "avoid");
  // wire::TxFrame::payload_max_bytes is the most that one description holds.
  profile.train_max_bytes =
      reader.number<uint32_t>("offloads", "train_max_bytes", {1024, wire_payload_max_bytes});
  profile.segment_max_bytes =
      reader.number<uint32_t>("offloads", "segment_max_bytes", {512, 65535});
  profile.mbufs_per_frame_max =
      reader.number<uint16_t>("offloads", "mbufs_per_frame_max", {1, mbufs_per_frame_limit});
}

void read_conduct(Reader& reader, DriverProfile& profile) {
  profile.steering = reader.choice<Steering>(
      "steering", "mode",
      {{"software", Steering::software}, {"kernel", Steering::kernel}, {"rss", Steering::rss}});
  profile.devargs = reader.text("devargs", "template");
  profile.polling = reader.choice<Polling>(
      "polling", "mode", {{"busy", Polling::busy}, {"adaptive", Polling::adaptive}});
  profile.sleep_us_max = reader.number<uint32_t>("polling", "sleep_us_max", {0, 900});
  profile.idle_reap = reader.choice<IdleReap>("polling", "idle_reap",
                                              {{"none", IdleReap::none},
                                               {"done_cleanup", IdleReap::done_cleanup},
                                               {"empty_burst", IdleReap::empty_burst},
                                               {"status", IdleReap::status}});
  profile.derive_mac = reader.flag("quirks", "derive_mac");
  profile.sends_from_rx_pool = reader.flag("quirks", "sends_from_rx_pool");
  profile.ignore_signals = reader.flag("quirks", "ignore_signals");
  profile.mtu_of_interface = reader.flag("quirks", "mtu_of_interface");
}

/// "net_tap" -> "tap"
std::string without_prefix(std::string_view driver) {
  if (driver.substr(0, 4) == "net_") driver.remove_prefix(4);
  return std::string(driver);
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

}  // namespace

const char* steering_name(Steering steering) {
  switch (steering) {
    case Steering::rss:
      return "rss";
    case Steering::kernel:
      return "kernel";
    case Steering::software:
      return "software";
  }
  return "";
}

Result<std::string> drivers_config_directory(const std::string& override_directory) {
  const char* from_environment = std::getenv("SLUICE_DRIVERS_CONFIG");
  const std::string chosen = !override_directory.empty()   ? override_directory
                             : from_environment != nullptr ? std::string(from_environment)
                                                           : std::string();
  std::error_code ignored;
  if (!chosen.empty()) {
    if (fs::is_directory(chosen, ignored)) return chosen;
    return fail("driver profiles: " + chosen + " is not a directory");
  }
  for (const char* directory : {installed_drivers_directory, source_drivers_directory}) {
    if (fs::exists(fs::path(directory) / "default.toml", ignored)) return std::string(directory);
  }
  return fail(std::string("driver profiles: neither ") + installed_drivers_directory + " nor " +
              source_drivers_directory + " is there: set SLUICE_DRIVERS_CONFIG");
}

Result<DriverProfile> read_profile(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return fail(path + ": no such file");
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    return fail(path + ":" + std::to_string(error.source().begin.line) + ": " +
                std::string(error.description()));
  }
  Reader reader(table, path);
  DriverProfile profile;
  profile.driver = fs::path(path).stem().string();
  profile.source_path = path;
  profile.title = reader.text("", "title");
  profile.verified = reader.text("", "verified");
  profile.pmd_names = reader.texts("", "pmd_names");
  profile.notes = reader.texts("", "notes");
  read_queues(reader, profile);
  read_offloads(reader, profile);
  read_conduct(reader, profile);
  reader.finish();
  if (!reader.error().empty()) return fail(reader.error());
  return profile;
}

Result<DriverProfile> find_profile(const std::string& directory, std::string_view driver) {
  const std::string name = without_prefix(driver);
  std::error_code ignored;
  const fs::path own = fs::path(directory) / (name + ".toml");
  if (is_plain_name(name) && fs::is_regular_file(own, ignored)) return read_profile(own.string());

  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    auto profile = read_profile(file.string());
    if (!profile) return profile;
    const auto& names = profile->pmd_names;
    if (std::find(names.begin(), names.end(), driver) != names.end()) return profile;
  }
  auto fallback = read_profile((fs::path(directory) / "default.toml").string());
  if (fallback) fallback->is_default = true;
  return fallback;
}

}  // namespace sluice::nic
