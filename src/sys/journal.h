#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// Is standard error connected to the journal (sd_journal_stream_fd(3), "$JOURNAL_STREAM")? Then
// messages can go there natively, with fields.
bool stderr_is_journal();

// Sends entries to the journal in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). Not by
// sd_journal_sendv(), whose socket blocks: a journal that has stopped must not stop the server.
class Journal {
 public:
  static constexpr std::string_view kSocket = "/run/systemd/journal/socket";

  explicit Journal(std::string_view path = kSocket);

  struct Field {
    std::string_view name;
    std::string value;
  };
  // False: the journal cannot be reached, or does not take it now; the entry is lost.
  bool send(const std::vector<Field>& fields);

 private:
  std::string path_;
  UniqueFd socket_;
};

}  // namespace pool_server
