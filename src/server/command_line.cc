#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "children/child_pool.h"
#include "handlers/registry.h"
#include "handlers/sandbox.h"
#include "server/config.h"
#include "server/option_list.h"
#include "sys/text_file.h"

namespace pool_server {

namespace {

// A fault is told in one line of sensible length, whatever the user or a library put into it.
std::string one_line(std::string text) {
  constexpr std::size_t kMost = 500;
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }, ' ');
  while (text.ends_with(' ')) text.pop_back();
  if (text.size() > kMost) text.replace(kMost, std::string::npos, "...");
  return text;
}

void fail(CommandLine& result, int exit_status, std::vector<std::string> faults) {
  for (std::string& fault : faults) fault = one_line(std::move(fault));
  result.faults = std::move(faults);
  result.exit_status = exit_status;
}

// An option as CLI11 reads it. Its values are set later: those of the configuration file, over
// which they go, come first.
CLI::Option* declare(CLI::App& app, const Option& option) {
  CLI::Option* declared = nullptr;
  if (option.clear) {
    const auto later = [](const std::vector<std::string>&) {};
    declared = app.add_option_function<std::vector<std::string>>(option.name, later, option.help);
    declared->allow_extra_args(false);
  } else {
    declared = app.add_option_function<std::string>(
        option.name, [](const std::string&) {}, option.help);
  }
  declared->type_name(option.type);
  if (!option.default_text.empty()) declared->default_str(option.default_text);
  return declared;
}

// An option, and what CLI11 read of it.
struct Declared {
  const Option* option;
  const CLI::Option* given;
};

// Sets what the command line gave; a list that it has takes the place of the file's.
std::vector<std::string> set_given(const std::vector<Declared>& declared) {
  std::vector<std::string> faults;
  for (const auto& [option, given] : declared) {
    const std::vector<std::string> values = given->results();
    if (!values.empty() && option->clear) option->clear();
    try {
      for (const std::string& value : values) option->set(value);
    } catch (const std::invalid_argument& fault) {
      faults.push_back(option->name + ": " + fault.what() + " (see pool-server --help)");
    }
  }
  return faults;
}

// The last of what a start does before it opens sockets: the handler with its options, which takes
// all settings together.
void answer_check(CommandLine& result, const std::string& path) {
  std::vector<std::string> faults;
  if (const std::string bar = barred_to_all_but_root(path); !bar.empty()) {
    faults.push_back(path + ": the service's user cannot read it, only root may: " + bar);
  }
  try {
    if (result.options.program.empty()) {
      load_handler(result.options)->make();
    } else if (std::string fault = program_fault(result.options); !fault.empty()) {
      faults.push_back(path + ": " + fault);
    }
  } catch (const std::bad_alloc&) {
    throw;  // says nothing about the file
  } catch (const std::exception& fault) {
    faults.push_back(path + ": " + fault.what());
  }
  if (!faults.empty()) return fail(result, kExitFailure, std::move(faults));
  result.answer = path + ": OK\n";
  result.exit_status = 0;
}

void parse(const std::vector<std::string>& arguments, CommandLine& result) {
  const OptionList list = option_list(result.options);
  CLI::App app("Puts CPU-bound work behind a socket: each request line is answered by one line.",
               "pool-server");
  app.set_version_flag("--version", "pool-server " POOL_SERVER_VERSION);
  // CLI11's look-up by name would end the process if memory ran out in it.
  std::vector<Declared> declared;
  for (const Option& option : list) declared.push_back({&option, declare(app, option)});
  std::string config;
  const CLI::Option* has_config =
      app.add_option("--config", config, "Read options from this file; the command line goes first")
          ->type_name("FILE");
  std::string to_check;
  const CLI::Option* has_check =
      app.add_option("--check-config", to_check, "Check this configuration file and exit")
          ->type_name("FILE");
  std::string to_explain;
  const CLI::Option* has_explain =
      app.add_option("--explain-sandbox", to_explain,
                     "Print a drop-in with what this handler needs in the service, and exit")
          ->type_name("NAME");
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // as CLI11 wants it
  } catch (const CLI::CallForHelp&) {
    result.answer = app.help();
    result.exit_status = 0;
    return;
  } catch (const CLI::CallForVersion& version) {
    result.answer = std::string(version.what()) + "\n";
    result.exit_status = 0;
    return;
  } catch (const CLI::ParseError& error) {
    return fail(result, kExitUsage, {std::string(error.what()) + " (see pool-server --help)"});
  }
  const bool checking = has_check->count() > 0;
  result.is_check = checking;
  if (checking || has_config->count() > 0) {
    std::vector<std::string> faults = read_config(checking ? to_check : config, list);
    const int exit_status = checking ? kExitFailure : kExitUsage;
    if (!faults.empty()) return fail(result, exit_status, std::move(faults));
  }
  std::vector<std::string> faults = set_given(declared);
  if (!faults.empty()) return fail(result, kExitUsage, std::move(faults));
  if (std::string fault = settle(result.options); !fault.empty()) {
    if (!checking) return fail(result, kExitUsage, {fault});
    return fail(result, kExitFailure, {to_check + ": " + fault});
  }
  if (checking) return answer_check(result, to_check);
  if (has_explain->count() > 0) {
    if (!handler_exists(to_explain)) {
      return fail(result, kExitUsage,
                  {"--explain-sandbox: there is no handler '" + to_explain + "'"});
    }
    result.options.handler = to_explain;
    result.answer = explain_sandbox(result.options);
    result.exit_status = 0;
  }
}

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& arguments) noexcept {
  CommandLine result;
  try {
    try {
      parse(arguments, result);
    } catch (const std::bad_alloc&) {
      // What was allocated meanwhile is free again.
      fail(result, kExitFailure, {"out of memory"});
    } catch (const std::exception& error) {
      fail(result, kExitFailure, {error.what()});
    } catch (...) {
      fail(result, kExitFailure, {"an unknown exception"});
    }
  } catch (...) {
    result.faults.clear();
    result.exit_status = kExitFailure;
  }
  return result;
}

}  // namespace pool_server
