// PlainDisk: the Disk without io_uring (an old kernel, a container that forbids it). Each request
// is carried out at once, one at a time, by plain system calls: slow disks are felt by all.
#pragma once

#include "base/bounded_queue.h"
#include "disk/disk.h"
#include "disk/files.h"
#include "disk/watches.h"

namespace sluice::disk {

class PlainDisk final : public Disk {
 public:
  /// `why`: for the start-up report.
  [[nodiscard]] static Result<std::unique_ptr<Disk>> create(const Options& options, Files files,
                                                            const std::string& why);
  ~PlainDisk() override;

  void submit(const store::IoRequest& request) override;
  [[nodiscard]] bool poll_completion(store::IoCompletion& out) override;
  [[nodiscard]] bool poll_change(Change& out) override;
  void wait(Duration limit) override;
  void flush() override {}
  [[nodiscard]] bool has_completions() override { return !finished_.empty(); }
  void wake() override;
  [[nodiscard]] const std::string& description() const override { return description_; }

 private:
  PlainDisk(const Options& options, Files files);
  void open(const store::IoRequest& request, store::IoCompletion& done);
  void read(const store::IoRequest& request, store::IoCompletion& done);

  Options options_;
  stats::Counters& counters_;
  Files files_;
  Watches watches_;
  BoundedQueue<store::IoCompletion> finished_;
  std::string path_;
  int wake_ = -1;
  std::string description_;
};

}  // namespace sluice::disk
