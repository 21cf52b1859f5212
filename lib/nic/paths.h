// Where the driver profiles are, as the build knows it (paths.cc.in).
#pragma once

namespace sluice::nic {

extern const char* const installed_drivers_directory;
extern const char* const source_drivers_directory;

}  // namespace sluice::nic
