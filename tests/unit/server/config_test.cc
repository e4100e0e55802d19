#include "server/config.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "server/command_line.h"
#include "support/config_file.h"

namespace pool_server {
namespace {

using Texts = std::vector<std::string>;

// The faults of a file with this text, without its name.
Texts faults_of(std::string_view text, Options* options = nullptr) {
  const ConfigFile file(text);
  Options scratch;
  Texts faults = read_config(file.path(), option_list(options != nullptr ? *options : scratch));
  for (std::string& fault : faults) {
    REQUIRE(fault.starts_with(file.path() + ":"));
    fault.erase(0, file.path().size() + 1);
  }
  return faults;
}

TEST_CASE("configuration: what may be repeated is kept, wherever it stands") {
  // Fails when settings are lost: those not on neighbouring lines, after a ';', or in a list.
  Options options;
  CHECK(faults_of(
            "handler-option=a=1; 2\nlisten=7001\nworkers=3\nhandler-option=b=\"x\" y=z\n"
            "listen=[\"127.0.0.1:7002\", /run/x y.sock]\nhandler-option=c=\nlisten=[::1]:7003\n",
            &options) == Texts{});
  CHECK(options.handler_options == Texts{"a=1; 2", "b=\"x\" y=z", "c="});
  CHECK(options.listen == Texts{"7001", "127.0.0.1:7002", "/run/x y.sock", "[::1]:7003"});
  CHECK(options.min_workers == 3);
}

TEST_CASE("configuration: a setting that is given twice is a fault that names both lines") {
  // Fails when one of the two values is used, and which is anybody's guess.
  CHECK(faults_of("workers=1\n\nqueue-capacity=3\nworkers=1\n") ==
        Texts{"4: workers is set in line 1 already"});
  CHECK(faults_of("log-level=info\nlog-level=loud\n").size() == 1);
}

TEST_CASE("configuration: what is no setting is a fault") {
  // Fails when a name is passed over, or one that is the command line's has an effect in a file.
  for (const char* text : {"PORT=7000",
                           "port=7000",
                           "config=/dev/null",
                           "check-config=/dev/null",
                           "help=yes",
                           "version=1",
                           "help",
                           "Workers=4",
                           "[default]",
                           "[pool-server]\nworkers=1",
                           "default.workers=1",
                           "workers",
                           "workers=",
                           "workers=\"\"",
                           "handler-option=",
                           "listen=[]",
                           "workers=[4]",
                           "workers=4 5",
                           "workers=4;5",
                           "workers=4 ; many",
                           "queue-timeout=0.1us",
                           "listen=1,2"}) {
    CAPTURE(text);
    CHECK(faults_of(text).size() == 1);
  }
  CHECK(faults_of("PORT=1") == Texts{"1: there is no setting 'PORT': it is listen=PORT here"});
  CHECK(faults_of("config=x") == Texts{"1: config is for the command line only"});
}

TEST_CASE("configuration: many faults are told in few lines") {
  // Fails when a reload of what is no configuration at all fills the journal.
  std::string text;
  for (int i = 0; i < 30'000; ++i) text += "what is this\n";
  const ConfigFile file(text);
  Options options;
  const Texts faults = read_config(file.path(), option_list(options));
  REQUIRE(faults.size() == 21);
  CHECK(faults.back() == file.path() + ": there are more faults");
  text.resize((1 << 20) + 1, '\n');
  file.write(text);
  CHECK_THROWS_AS(read_config(file.path(), option_list(options)), std::runtime_error);
}

// Settings with a value that is in order, as the command line takes them.
struct Sample {
  const char* name;
  const char* value;
};
constexpr Sample kSamples[] = {
    {"workers", "2-9"},         {"queue-capacity", "77"},     {"task-timeout", "1.5 s"},
    {"overload", "reject"},     {"max-line", "3 KiB"},        {"log-level", "debug"},
    {"idle-timeout", "1h"},     {"log-connections", "yes"},   {"listen", "[::1]:80"},
    {"listen", "/a;b #c"},      {"listen", "/a, b"},          {"handler-option", "a=b=c"},
    {"handler-option", "x=\\"}, {"handler-option", "k=it's"}, {"handler", "drill"},
    {"drain-timeout", "0"},     {"proxy-protocol", "yes"},
};

auto everything(const Options& options) {
  return std::tuple(options.min_workers, options.max_workers, options.queue_capacity,
                    options.task_timeout, options.overload, options.max_line, options.log_level,
                    options.idle_timeout, options.log_connections, options.listen,
                    options.handler_options, options.handler, options.drain_timeout,
                    options.proxy_protocol);
}

TEST_CASE(
    "configuration: each setting means the same as on the command line, however it is written") {
  // Fails when order, quotes, brackets, blanks, line ends or comments change what a file says.
  std::mt19937 random(10);
  std::string text;
  const auto append_any = [&](std::initializer_list<const char*> choices) {
    text.append(choices.begin()[random() % choices.size()]);
  };
  const ConfigFile file("");
  for (int i = 0; i < 300; ++i) {
    Texts arguments;
    text.clear();
    append_any({"", "\xef\xbb\xbf"});
    Texts given;
    for (auto count = random() % 12; count > 0; --count) {
      const Sample& sample = kSamples[random() % std::size(kSamples)];
      const std::string name = sample.name;
      const bool repeatable = name == "listen" || name == "handler-option";
      if (!repeatable && std::ranges::find(given, name) != given.end()) continue;
      given.push_back(name);
      arguments.push_back("--" + name + "=" + sample.value);
      const bool quoted = random() % 3 == 0;
      const bool in_list = quoted && repeatable && random() % 2 == 0;
      append_any({"", "", "# x=1\n", "\n", "; workers=none\n", " \t\r\n"});
      append_any({"", " ", "\t"});
      text.append(name);
      append_any({"=", " = ", "=\t"});
      if (in_list) append_any({"[", "[ "});
      text.append(quoted ? "\"" : "").append(sample.value).append(quoted ? "\"" : "");
      if (in_list) append_any({"]", " ]"});
      append_any({"", " ", "\t "});
      append_any({"\n", "\r\n"});
    }
    CAPTURE(text);
    file.write(text);
    const CommandLine from_file = parse_command_line({"--config", file.path()});
    CHECK(from_file.faults == Texts{});
    CHECK(everything(from_file.options) == everything(parse_command_line(arguments).options));
  }
}

TEST_CASE("configuration: the check's verdict is the start's and the reload's, whatever the file") {
  // Fails when one of them takes a file that another refuses, or tells other faults.
  const std::string_view pieces[] = {"workers",
                                     "queue-capacity",
                                     "listen",
                                     "handler-option",
                                     "PORT",
                                     "config",
                                     "=",
                                     "=",
                                     "=",
                                     "4",
                                     "2-3",
                                     "9090",
                                     "a=b",
                                     "drill",
                                     "x",
                                     "\n",
                                     "\n",
                                     "\n",
                                     "\"",
                                     "[",
                                     "]",
                                     ",",
                                     ";",
                                     "#",
                                     " ",
                                     "\t",
                                     "\r\n",
                                     "'",
                                     std::string_view("\0\n", 2),
                                     "=7\n",
                                     "=k=v\n",
                                     "/p",
                                     "--",
                                     "[default]\n"};
  std::mt19937 random(11);
  const ConfigFile file("");
  int good = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string text;
    for (auto count = random() % 12; count > 0; --count) {
      text += pieces[random() % std::size(pieces)];
    }
    CAPTURE(text);
    file.write(text);
    const CommandLine start =
        parse_command_line({"--config", file.path()});  // and reload: the same
    const CommandLine check = parse_command_line({"--check-config", file.path()});
    if (start.exit_status.has_value()) {
      CHECK(start.exit_status == kExitUsage);
      CHECK(check.exit_status == kExitFailure);
      CHECK(check.faults == start.faults);
      CHECK(!start.faults.empty());
    } else {
      ++good;
      // The one thing that a check asks beyond the start's reading: does the handler take its
      // options?
      if (start.options.handler_options.empty()) CHECK(check.exit_status == 0);
    }
  }
  CHECK(good > 30);
}

TEST_CASE(
    "configuration: of what may be repeated, the command line's values take the place of the "
    "file's") {
  // Fails when they are added to them, or the file's win.
  const ConfigFile file("listen=1\nlisten=2\nhandler-option=a=1\nworkers=5\n");
  const CommandLine result =
      parse_command_line({"--listen=3", "--config", file.path(), "--workers=6"});
  CHECK(result.options.listen == Texts{"3"});
  CHECK(result.options.handler_options == Texts{"a=1"});
  CHECK(result.options.max_workers == 6);
  const ConfigFile wrong("workers=none\n");  // a fault, even where nothing comes of it
  CHECK(parse_command_line({"--workers=6", "--config", wrong.path()}).exit_status == kExitUsage);
}

}  // namespace
}  // namespace pool_server
