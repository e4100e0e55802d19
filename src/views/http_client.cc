#include "views/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <stdexcept>
#include <system_error>

#include "views/plain_text.h"

namespace pool_server::views {

namespace {

// A server's whole history is a few hundred KiB.
constexpr std::size_t kLongestAnswer = 8 << 20;

std::size_t take_piece(const char* data, std::size_t, std::size_t size, void* body) {
  auto& text = *static_cast<std::string*>(body);
  if (text.size() + size > kLongestAnswer) return 0;  // ends the transfer
  text.append(data, size);
  return size;
}

// `error`: what the system said of the connection, or 0.
std::string fault_of(CURLcode code, long error, const char* details) {
  switch (code) {
    case CURLE_OK:
      return "";
    case CURLE_COULDNT_CONNECT:
      if (error == 0) return "no connection";
      return "no connection: " +
             plain_text(std::generic_category().message(static_cast<int>(error)));
    case CURLE_COULDNT_RESOLVE_HOST:
      return "no such host";
    case CURLE_OPERATION_TIMEDOUT:
      return "no answer in time";
    case CURLE_WRITE_ERROR:
      return "its answer is too long";
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
      return "the connection ended before the answer";
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
      return "its answer is no HTTP";
    default:
      return plain_text(details[0] != '\0' ? details : curl_easy_strerror(code));
  }
}

}  // namespace

struct HttpClient::Transfer {
  struct EasyEnd {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  };
  struct MultiEnd {
    void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
  };

  explicit Transfer(const MonitorAddress& address)
      : url("http://" + address.authority), easy(curl_easy_init()), multi(curl_multi_init()) {
    if (!easy || !multi) throw std::runtime_error("libcurl cannot be used");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_PROXY, "");
    set(CURLOPT_PROTOCOLS_STR, "http");
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
    set(CURLOPT_ERRORBUFFER, details);
    set(CURLOPT_WRITEFUNCTION, take_piece);
    set(CURLOPT_WRITEDATA, &answer.body);
    if (!address.path.empty()) set(CURLOPT_UNIX_SOCKET_PATH, address.path.c_str());
  }
  ~Transfer() { stop(); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  template <typename Value>
  void set(CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(easy.get(), option, value);
    if (code != CURLE_OK) throw std::runtime_error(fault_of(code, 0, details));
  }

  void stop() {
    if (busy) curl_multi_remove_handle(multi.get(), easy.get());
    busy = false;
  }

  char details[CURL_ERROR_SIZE] = "";
  std::string url;
  std::unique_ptr<CURL, EasyEnd> easy;
  std::unique_ptr<CURLM, MultiEnd> multi;  // goes first
  Answer answer;
  bool busy = false;
};

HttpClient::HttpClient(const MonitorAddress& address)
    : transfer_(std::make_unique<Transfer>(address)) {}
HttpClient::~HttpClient() = default;

void HttpClient::start(const std::string& path, Time timeout) {
  Transfer& of = *transfer_;
  of.stop();
  of.answer = {};
  of.details[0] = '\0';
  of.set(CURLOPT_URL, (of.url + path).c_str());
  of.set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<Time::rep>(1, timeout.count())));
  if (curl_multi_add_handle(of.multi.get(), of.easy.get()) != CURLM_OK) {
    throw std::runtime_error("libcurl cannot be used");
  }
  of.busy = true;
}

bool HttpClient::busy() const {
  return transfer_->busy;
}

std::optional<HttpClient::Answer> HttpClient::take() {
  Transfer& of = *transfer_;
  if (!of.busy) return std::nullopt;
  int running = 0;
  (void)curl_multi_perform(of.multi.get(), &running);
  int left = 0;
  const CURLMsg* message = curl_multi_info_read(of.multi.get(), &left);
  if (message == nullptr || message->msg != CURLMSG_DONE) return std::nullopt;
  long error = 0;
  curl_easy_getinfo(of.easy.get(), CURLINFO_OS_ERRNO, &error);
  of.answer.fault = fault_of(message->data.result, error, of.details);
  curl_easy_getinfo(of.easy.get(), CURLINFO_RESPONSE_CODE, &of.answer.status);
  of.stop();
  return std::move(of.answer);
}

void HttpClient::wait(const std::vector<int>& descriptors, Time timeout) {
  std::vector<curl_waitfd> fds;
  for (const int fd : descriptors) fds.push_back({fd, CURL_WAIT_POLLIN, 0});
  const auto most = static_cast<int>(std::clamp<Time::rep>(timeout.count(), 0, 60'000));
  (void)curl_multi_poll(transfer_->multi.get(), fds.data(), static_cast<unsigned>(fds.size()), most,
                        nullptr);
}

HttpClient::Answer HttpClient::get(const std::string& path, Time timeout) {
  start(path, timeout);
  while (true) {
    if (std::optional<Answer> answer = take()) return std::move(*answer);
    wait({}, timeout);
  }
}

}  // namespace pool_server::views
