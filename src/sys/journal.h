#pragma once

#include <string>
#include <vector>

namespace pool_server {

// Is standard error connected to the journal (sd_journal_stream_fd(3), "$JOURNAL_STREAM")? Then
// messages can go there natively, with fields.
bool stderr_is_journal();

// Sends one entry of "NAME=value" fields. A journal that cannot be reached is no error.
void send_to_journal(const std::vector<std::string>& fields);

}  // namespace pool_server
