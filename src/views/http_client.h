#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "views/monitor_address.h"

namespace pool_server::views {

// Asks one server for one thing at a time, by libcurl, over a connection that it keeps. Follows no
// redirection and uses no proxy. One thread.
class HttpClient {
 public:
  using Time = std::chrono::milliseconds;

  struct Answer {
    std::string fault;  // why there is none, in plain text; empty: there is one
    long status = 0;
    std::string body;
  };

  explicit HttpClient(const MonitorAddress& address);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Sends the request. What is on its way is given up. The answer has `timeout` to arrive whole.
  void start(const std::string& path, Time timeout);
  bool busy() const;
  // Once, when it has come or cannot come any more; never waits.
  std::optional<Answer> take();

  // Waits until take() may have something, one of the descriptors is readable, or the time is over.
  void wait(const std::vector<int>& descriptors, Time timeout);

  // start(), and waits for the answer.
  Answer get(const std::string& path, Time timeout);

 private:
  struct Transfer;

  std::unique_ptr<Transfer> transfer_;
};

}  // namespace pool_server::views
