#pragma once

#include <string>
#include <vector>

#include "views/canvas.h"
#include "views/dashboard.h"

namespace pool_server::views {

// Whether the locale's characters are UTF-8; sets the locale from the environment.
bool speaks_utf8();

// The terminal, taken over by ncurses for as long as this lives, and then put back as it was; also
// by a crash, but for one that cannot be caught. One at a time.
class Screen {
 public:
  // There is one: see terminal.h.
  explicit Screen(bool utf8);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  Size size() const;
  // To what the terminal has become.
  void resize();
  void show(const std::vector<Line>& lines);
  // What the lines look like is lost: all is painted anew at the next show().
  void forget();

  enum class Key : unsigned char { kNone, kOther, kWork, kRequests, kInFlight, kQuit, kRepaint };
  Key key();  // kNone: none was pressed

 private:
  bool utf8_;
};

}  // namespace pool_server::views
