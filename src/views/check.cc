#include "views/check.h"

#include <chrono>
#include <iostream>
#include <string>
#include <string_view>

#include "views/plain_text.h"

namespace pool_server::views {

namespace {

int say(std::string_view word, std::string_view text, int exit_status) {
  std::cout << "pool-server " << word << ": " << text << std::endl;
  return std::cout ? exit_status : kExitUsage;
}

// By the text, too: there are servers that answer 200 to whatever they are asked.
bool says(const HttpClient::Answer& answer, long status, std::string_view text) {
  return answer.fault.empty() && answer.status == status && answer.body == text;
}

// The first line of an answer, short enough for who shows it in a table.
std::string line_of(const std::string& body) {
  constexpr std::size_t kLong = 200;
  return cut(plain_text(std::string_view(body).substr(0, body.find_first_of("\r\n"))), kLong);
}

}  // namespace

int check(const MonitorAddress& address, HttpClient::Time timeout) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + timeout;
  const auto left = [&] { return std::chrono::ceil<HttpClient::Time>(end - Clock::now()); };
  const auto no_answer = [&](const HttpClient::Answer& answer) {
    std::string why = answer.fault;
    if (why.empty() && answer.status == 200) why = "its answer is not that of a pool-server";
    if (why.empty()) why = "it answers with status " + std::to_string(answer.status);
    return say("cannot be reached", plain_text(address.text) + ": " + why, kExitNoAnswer);
  };

  HttpClient client(address);
  const HttpClient::Answer alive = client.get("/healthz", left());
  if (!says(alive, 200, "ok\n")) return no_answer(alive);
  const HttpClient::Answer ready = client.get("/readyz", left());
  if (says(ready, 200, "ready\n")) return say("ready", plain_text(address.text), 0);
  if (!ready.fault.empty() || ready.status != 503) return no_answer(ready);
  const std::string why = line_of(ready.body);
  return say("not ready", why.empty() ? "it does not say why" : why, kExitNotReady);
}

}  // namespace pool_server::views
