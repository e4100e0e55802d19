// Puts load on a server and prints what came of it as one line of JSON.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "load.h"
#include "sys/socket.h"

namespace bench = pool_server::bench;

int main(int argc, char** argv) {
  bench::LoadPlan plan;
  std::string exchange = "digest";
  double seconds = 1;
  double warm_up = 0.3;
  CLI::App app("Load generator: checks every reply, prints throughput, latency and server cost.");
  app.add_option("port", plan.port, "the server's port on 127.0.0.1")->required();
  app.add_option("pid", plan.pid, "the server's process")->required();
  app.add_option("--exchange", exchange, "digest, echo, spin or memcached");
  app.add_option("--connections", plan.connections, "clients");
  app.add_option("--pipeline", plan.pipeline, "outstanding requests of each")
      ->check(CLI::PositiveNumber);
  app.add_option("--greedy", plan.greedy, "outstanding requests of one more client");
  app.add_option("--idle", plan.idle, "connections that were used once");
  app.add_option("--seconds", seconds, "how long to measure");
  app.add_option("--warm-up", warm_up, "seconds before that");
  app.add_option("--requests", plan.requests, "measure this many requests instead");
  CLI11_PARSE(app, argc, argv);
  plan.warm_up = static_cast<std::int64_t>(warm_up * 1e6);
  plan.duration = plan.requests > 0 ? 0 : static_cast<std::int64_t>(seconds * 1e6);
  try {
    pool_server::raise_descriptor_limit();
    const bench::LoadResult result = bench::run_load(plan, bench::make_exchanges(exchange));
    const auto all = static_cast<double>(result.replies + result.greedy_replies);
    const auto us = [&](double percent) {
      return static_cast<double>(result.latency.percentile(percent)) / 1000;
    };
    std::printf("{\"requests_per_second\": %.1f, \"greedy_per_second\": %.1f, ",
                static_cast<double>(result.replies) / result.seconds,
                static_cast<double>(result.greedy_replies) / result.seconds);
    std::printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, ", us(50), us(99),
                us(99.9));
    std::printf("\"cpu_us_per_request\": %.4f, \"switches_per_request\": %.4f, ",
                result.usage.cpu_seconds * 1e6 / all,
                static_cast<double>(result.usage.context_switches) / all);
    std::printf("\"memory_before\": %llu, \"memory_with_idle\": %llu}\n",
                static_cast<unsigned long long>(result.memory_before),
                static_cast<unsigned long long>(result.memory_with_idle));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load: %s\n", error.what());
    return 1;
  }
}
