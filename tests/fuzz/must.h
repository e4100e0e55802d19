#pragma once

#include <cstdlib>

// What has to hold of any input: if it does not, the fuzzer keeps that input.
inline void must(bool holds) {
  if (!holds) std::abort();
}
