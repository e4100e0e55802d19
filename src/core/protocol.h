#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/handler.h"
#include "core/ids.h"

// The words of the line protocol. A reply is one line: "result: TEXT" or "ERROR: TEXT" (STATS
// answers "stats: ..."), ended by LF, and holds no control byte whatever the request held.
namespace pool_server::protocol {

inline constexpr std::string_view kStatsRequest = "STATS";

inline constexpr std::string_view kEmptyRequest = "empty request";
inline constexpr std::string_view kInternalError = "internal error";
inline constexpr std::string_view kBadReply = "the handler's reply has control bytes";
// Of a pool of programs, none of which can be kept alive.
inline constexpr std::string_view kNoWorker = "no worker available";
inline constexpr std::string_view kCarriageReturn = "the request has a carriage return";
inline constexpr std::string_view kInvalidInput = "invalid input";
inline constexpr std::string_view kServerBusy = "server busy";
inline constexpr std::string_view kTooManyConnections = "too many connections";
inline constexpr std::string_view kTooManyFromPeer = "too many connections from this client";
inline constexpr std::string_view kWaitedTooLong = "waited too long";
// Said to a connection before it is closed.
inline constexpr std::string_view kNoProxyHeader = "no valid PROXY header";
inline constexpr std::string_view kIdleTooLong = "idle for too long";
inline constexpr std::string_view kLineTooSlow = "request not completed in time";

// The whole reply to a request whose handler failed.
inline constexpr std::string_view kInternalErrorReply = "ERROR: internal error\n";

std::string line_too_long(std::size_t max_bytes);
std::string reply_too_long(std::size_t max_bytes);
std::string worker_crashed(std::string_view how);
std::string timed_out(TimeUs timeout);  // said in ms, as the option is

// What a reply line has beside its text: "result: " and LF.
inline constexpr std::size_t kLongestPrefix = 9;

bool has_control_bytes(std::string_view text);
void hide_control_bytes(std::span<char> text);  // they become '?'

// Appends the whole reply line for `text` to `out`; control bytes of `text` become '?'.
void append_reply(Outcome outcome, std::string_view text, std::string& out);

// Rewrites `text` in place into its reply line.
void make_reply(Outcome outcome, std::string& text);

}  // namespace pool_server::protocol
