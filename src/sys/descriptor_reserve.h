#pragma once

#include <cstddef>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// Descriptors held for when there is no other left: what has to work at the limit lets them go
// first. Standard input must be open (see fill_standard_descriptors()).
class DescriptorReserve {
 public:
  // Holds `count`, or as many as there are.
  void hold(std::size_t count);
  void release() { held_.clear(); }
  std::size_t size() const { return held_.size(); }

 private:
  std::vector<UniqueFd> held_;
};

}  // namespace pool_server
