#include "children/spawner.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

#include "sys/clock.h"
#include "sys/packet.h"
#include "sys/patient_poll.h"

namespace pool_server {

namespace {

constexpr int kStartPatience = 5'000;  // ms, for a machine that hardly gets on

struct Pipe {
  UniqueFd out;
  UniqueFd in;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe2");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void make_non_blocking(int fd) {
  (void)::fcntl(fd, F_SETFL, O_NONBLOCK);
}

std::string message_of(const ChildStart& start) {
  std::string message;
  append_raw(message, SpawnHeader{.kind = start.kind,
                                  .words = static_cast<std::uint32_t>(start.words.size()),
                                  .frames = start.frames ? 1U : 0U,
                                  .max_reply = start.max_reply,
                                  .grace = start.grace,
                                  .address_space = start.address_space});
  message.append(start.label).push_back('\0');
  for (const std::string& word : start.words) message.append(word).push_back('\0');
  return message;
}

// False: it takes too long, or is not waited for any more.
bool wait_for_start(int report, const Spawner::Interruption& interruption, TimeUs patience) {
  const TimeUs until = monotonic_now() + patience;
  for (TimeUs left = patience; left > 0; left = until - monotonic_now()) {
    pollfd ends[2] = {{report, POLLIN, 0}, {interruption.wake.fd(), POLLIN, 0}};
    if (patient_poll(ends, static_cast<int>(left / 1000 + 1)) < 0) continue;
    if (ends[0].revents != 0) return true;
    if (ends[1].revents == 0) continue;
    interruption.wake.clear();
    if (interruption.stop.stop_requested()) return false;
  }
  return false;
}

Spawner::Spawned failed(int error) {
  return {nullptr, std::strerror(error)};
}

}  // namespace

Spawner::Begun Spawner::begin(const ChildStart& start, const std::vector<int>& fds) const {
  const std::string message = message_of(start);
  if (message.size() > kMostSpawnBytes) {
    throw std::system_error(E2BIG, std::generic_category(), "what the child is to be told");
  }
  Pipe report = make_pipe();
  PacketPair lifeline = PacketPair::make();
  std::vector<int> sent{lifeline.other.get(), report.in.get()};
  sent.insert(sent.end(), fds.begin(), fds.end());
  if (!send_packet(control_.get(), message, sent, kStartPatience)) throw_errno("sendmsg");
  return {std::move(lifeline.one), std::move(report.out)};
}

Spawner::Spawned Spawner::spawn(const ChildStart& start, const Interruption* interruption) const {
  try {
    return try_to_spawn(start, interruption);
  } catch (const std::system_error& fault) {
    return failed(fault.code().value());
  }
}

Spawner::Spawned Spawner::try_to_spawn(const ChildStart& start,
                                       const Interruption* interruption) const {
  const bool is_program = start.kind == SpawnKind::kProgram;
  Pipe input;
  Pipe output;
  std::unique_ptr<Claims> claims;
  if (is_program) {
    input = make_pipe();
    output = make_pipe();
  } else {
    PacketPair pair = PacketPair::make();
    input = {std::move(pair.other), std::move(pair.one)};
    claims = std::make_unique<Claims>();
  }
  const std::vector<int> fds{input.out.get(), is_program ? output.in.get() : claims->fd()};
  Begun begun = begin(start, fds);
  input.out.reset();
  output.in.reset();
  if (claims != nullptr) claims->close_fd();
  const TimeUs patience = is_program ? kStartPatience * 1'000LL : kCreatePatience;
  if (interruption == nullptr) {
    (void)wait_readable(begun.report.get(), is_program ? kStartPatience : kForEver);
  } else if (!wait_for_start(begun.report.get(), *interruption, patience)) {
    return failed(interruption->stop.stop_requested() ? EINTR : ETIMEDOUT);
  }
  const StartResult result = take_start_report(begun.report.get());
  if (!result.fault.empty()) return {nullptr, result.fault};
  // It may have been quicker than who forked it.
  (void)wait_readable(begun.lifeline.get(), kStartPatience);
  std::array<char, 2048> buffer;
  const Packet packet = receive_packet(begun.lifeline.get(), buffer);
  std::string_view bytes = packet.bytes;
  Started started;
  if (packet.status != PacketStatus::kOk || !take_raw(bytes, started)) return failed(ECHILD);
  make_non_blocking(input.in.get());
  if (is_program) make_non_blocking(output.out.get());
  auto child = std::make_unique<Child>(started.pid, std::move(input.in), std::move(output.out),
                                       std::move(claims), std::move(begun.lifeline));
  if (!is_program && result.ended) {  // it is no program that runs by now
    const auto end = child->wait(kStartPatience * 1'000LL);
    return {nullptr, end ? end->how() : "it closed everything"};
  }
  return {std::move(child), {}};
}

StartResult take_start_report(int report) {
  std::array<char, 1024> buffer;
  StartResult result;
  StartReport told;
  const ssize_t size = ::read(report, buffer.data(), buffer.size());
  std::string_view text(buffer.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  result.ended = !take_raw(text, told);
  result.kind = told.kind;
  if (told.kind == StartReport::Kind::kError) {
    result.fault = std::strerror(told.error);
  } else if (told.kind != StartReport::Kind::kRuns) {
    result.fault = text.empty() ? "no reason is known" : text;
  }
  return result;
}

}  // namespace pool_server
