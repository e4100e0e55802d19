// Boost.Asio: an io_context on one thread, async_read_until and async_write, and a thread_pool to
// which each line is posted and from which its reply is posted back.
#include <boost/asio.hpp>

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "job.h"
#include "server.h"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t kMaxLine = 64 * 1024;
// Requests of one session at work, beyond which it is not read from.
constexpr std::size_t kMaxPending = 1024;

// Alive as long as something is to be done for it: every operation holds a shared pointer, and the
// last goes on the thread of the io_context, where the socket is closed.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, asio::thread_pool& pool) : socket_(std::move(socket)), pool_(pool) {}

  void start() { read(); }

 private:
  struct Request {
    std::string line;
    bool done = false;  // thread of the io_context only
    std::size_t reply_size = 0;
    std::array<char, kJobReplyMax> reply;
  };

  void read() {
    reading_ = true;
    asio::async_read_until(socket_, asio::dynamic_buffer(input_, kMaxLine + 1), '\n',
                           [self = shared_from_this()](error_code error, std::size_t) {
                             self->reading_ = false;
                             self->on_read(error);
                           });
  }

  void on_read(error_code error) {
    if (error) {
      // After the end of input, what is at work is still answered.
      ended_ = true;
      if (error != asio::error::eof) close();
      return;
    }
    // More than one line may have come.
    std::size_t start = 0;
    for (std::size_t end; (end = input_.find('\n', start)) != std::string::npos; start = end + 1) {
      submit(input_.substr(start, end - start));
    }
    input_.erase(0, start);
    if (pending_.size() < kMaxPending) read();
  }

  void submit(std::string line) {
    // A deque does not move its elements when others come and go.
    Request& request = pending_.emplace_back();
    request.line = std::move(line);
    asio::post(pool_, [self = shared_from_this(), &request]() mutable {
      request.reply_size = job_run(request.line.data(), request.line.size(), request.reply.data());
      auto executor = self->socket_.get_executor();
      asio::post(executor, [self = std::move(self), &request] {
        request.done = true;
        self->write();
      });
    });
  }

  // All replies whose turn has come, in one write; those that come meanwhile go with the next.
  void write() {
    if (writing_ || !socket_.is_open()) return;
    output_.clear();
    while (!pending_.empty() && pending_.front().done) {
      output_.append(pending_.front().reply.data(), pending_.front().reply_size);
      pending_.pop_front();
    }
    if (output_.empty()) return;
    writing_ = true;
    asio::async_write(socket_, asio::buffer(output_),
                      [self = shared_from_this()](error_code error, std::size_t) {
                        self->writing_ = false;
                        self->on_written(error);
                      });
  }

  void on_written(error_code error) {
    if (error) return close();
    write();
    if (!reading_ && !ended_ && pending_.size() < kMaxPending) read();
  }

  void close() {
    ended_ = true;
    error_code ignored;
    socket_.close(ignored);
  }

  tcp::socket socket_;
  asio::thread_pool& pool_;
  std::string input_;
  std::string output_;
  std::deque<Request> pending_;
  bool reading_ = false;
  bool writing_ = false;
  bool ended_ = false;
};

void accept(tcp::acceptor& acceptor, asio::thread_pool& pool) {
  acceptor.async_accept([&](error_code error, tcp::socket socket) {
    if (!error) {
      socket.set_option(tcp::no_delay(true), error);
      std::make_shared<Session>(std::move(socket), pool)->start();
    }
    accept(acceptor, pool);
  });
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv);
  raise_descriptor_limit();
  asio::io_context io(1);  // run by one thread
  asio::thread_pool pool(static_cast<std::size_t>(arguments.workers));
  tcp::acceptor acceptor(io);
  acceptor.open(tcp::v4());
  acceptor.set_option(tcp::acceptor::reuse_address(true));
  acceptor.bind({asio::ip::address_v4::loopback(), static_cast<unsigned short>(arguments.port)});
  acceptor.listen(kBacklog);
  accept(acceptor, pool);
  io.run();
}
