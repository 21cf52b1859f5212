// The folders of telemetry sockets that killed instances left: DPDK makes one for each
// (/var/run/dpdk/<instance>), and only Eal's destructor takes it away.
//
// Control path; called when the process starts.
#pragma once

#include <cstdint>
#include <filesystem>

namespace sluice::nic {

/// Removes from `parent` the folders named sluice-<pid> whose process is gone, where nobody listens
/// at the socket and nothing but the socket is in them. Of what cannot be removed nothing is said.
/// Returns: how many were removed.
uint32_t remove_left_folders(const std::filesystem::path& parent);

}  // namespace sluice::nic
