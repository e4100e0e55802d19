#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace pool_server::log {

// How often lines of an event may be logged. Those at the level debug are not limited.
enum class Repeats : unsigned char {
  kLimited,     // see core/log_limiter.h
  kEachIsNews,  // each line says something else: one is as many as were asked for, or at a start
};

struct EventInfo {
  std::string_view name;        // POOL_SERVER_EVENT=, part of the interface
  std::string_view message_id;  // of its text in packaging/systemd/pool-server.catalog; or empty
  Repeats repeats = Repeats::kLimited;
};

// Every event. man/check-events holds pool-server(8), the catalog and the callers to this list.
inline constexpr std::array kEvents = {
    EventInfo{"started", "e2e80f523afd49d995d95e7572010e56"},
    EventInfo{"start-failed", "47fa7f0d6de64ac5a9017d4a970732f8", Repeats::kEachIsNews},
    EventInfo{"start-delayed", "", Repeats::kEachIsNews},
    EventInfo{"check-failed", "", Repeats::kEachIsNews},
    EventInfo{"listening", "", Repeats::kEachIsNews},
    EventInfo{"stopping", ""},
    EventInfo{"stopping-at-once", ""},
    EventInfo{"lame-duck", "", Repeats::kEachIsNews},
    EventInfo{"lame-duck-ended", "", Repeats::kEachIsNews},
    EventInfo{"stopped", "60f73d493bc54e53b18a18eb12545bec"},
    EventInfo{"failed", "294d3f9bdac1445a8251e4a84c52aa1e"},
    EventInfo{"crashed", "2dcbd50db61448729558da9e72b9d7c7"},
    EventInfo{"handler-exited", ""},
    EventInfo{"handler-log", ""},
    EventInfo{"handler-log-cut", ""},
    EventInfo{"handler-threw", ""},
    EventInfo{"connected", "", Repeats::kEachIsNews},
    EventInfo{"disconnected", ""},
    EventInfo{"connection-failed", ""},
    EventInfo{"out-of-memory", ""},
    EventInfo{"read", ""},
    EventInfo{"computed", ""},
    EventInfo{"sent", ""},
    EventInfo{"connection-limit", "32ca7becf0a14d1da36d942c911f36db"},
    EventInfo{"proxy-header-invalid", ""},
    EventInfo{"memory-short", ""},
    EventInfo{"accept-paused", "dddb425f8d7f425196aaeb459ae7ea55"},
    EventInfo{"accept-resumed", ""},
    EventInfo{"listener-dead", ""},
    EventInfo{"descriptor-limit", ""},
    EventInfo{"task-timeout", "7435456a707c4605b8381466377c2c5d"},
    EventInfo{"worker-start-failed", "a154a4339f0c496c86e11993a3e3c133"},
    EventInfo{"worker-stuck", "125bde6b979c4c7ebe87c39db38b2558"},
    EventInfo{"pool-stuck", "c26c727e096e4bab9af8c47e557304d9"},
    EventInfo{"worker-crashed", "a2719a473e5949938c25360480f78a73"},
    EventInfo{"program-log", "", Repeats::kEachIsNews},  // limited before, see OutputLines
    EventInfo{"program-log-cut", ""},
    EventInfo{"program-out-of-step", "3c9bcdf5e1fd4fed8bd3b17102ac1585"},
    EventInfo{"program-not-started", "ede91ff797d049a4bb836c70731ab254"},
    EventInfo{"program-replaced", ""},
    EventInfo{"handler-loaded", "", Repeats::kEachIsNews},
    EventInfo{"monitoring", "", Repeats::kEachIsNews},
    EventInfo{"monitor-failed", ""},
    EventInfo{"agent-listening", "", Repeats::kEachIsNews},
    EventInfo{"agent-failed", ""},
    EventInfo{"nursery-gone", "047a3a4d8fe74c16ad4919f34c8cde3f"},
    EventInfo{"resized", ""},
    EventInfo{"abandoned", ""},
    EventInfo{"reloaded", "", Repeats::kEachIsNews},
    EventInfo{"reload-failed", "15813264dd6c427d9f3cd6ef36e4881e", Repeats::kEachIsNews},
    EventInfo{"setting-not-reloadable", ""},
    EventInfo{"watchdog-not-fed", ""},
    EventInfo{"manager-not-reading", ""},
    EventInfo{"unknown-descriptor", "", Repeats::kEachIsNews},
    EventInfo{"handed-over", "d779a3c3a08c488b9d4d534b057b7860"},
    EventInfo{"handover-failed", ""},
    EventInfo{"restored", "184ca17dce8c4afcbd63e42a5b78d055"},
    EventInfo{"restore-incomplete", "", Repeats::kEachIsNews},
    EventInfo{"restore-failed", "", Repeats::kEachIsNews},
    EventInfo{"log-dropped", ""},
};

// One of kEvents, by its name: another one does not compile.
class Event {
 public:
  consteval Event(const char* name)  // NOLINT(google-explicit-constructor): as the name is written
      : index_(0) {
    while (kEvents.at(index_).name != name) ++index_;
  }
  explicit constexpr Event(std::size_t index) : index_(index) {}

  std::size_t index() const { return index_; }
  const EventInfo& info() const { return kEvents[index_]; }

 private:
  std::size_t index_;  // in kEvents
};

}  // namespace pool_server::log
