#include "views/terminal.h"

#include <unistd.h>

#include <cstdlib>

// A file of its own for these: they make macros of words such as "lines".
#include <curses.h>
#include <term.h>

namespace pool_server::views {

bool has_terminal() {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) return false;
  const char* name = std::getenv("TERM");
  int error = 0;
  if (name == nullptr || setupterm(name, STDOUT_FILENO, &error) != OK) return false;
  const bool places_text = cursor_address != nullptr;
  del_curterm(cur_term);
  return places_text;
}

}  // namespace pool_server::views
