#include "views/screen.h"

#include <curses.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <cwchar>
#include <stdexcept>
#include <string_view>

#include "views/plain_text.h"

namespace pool_server::views {

namespace {

constexpr std::array kCrashes{SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// What the handler of a crash puts back, which may not ask ncurses for it.
struct Before {
  termios settings{};
  std::array<char, 256> ending{};
  std::size_t ending_size = 0;
};
Before before;

void add_ending(const char* capability) {
  const char* text = tigetstr(capability);
  // -1: it is no text.
  if (text == nullptr || reinterpret_cast<std::intptr_t>(text) == -1) return;
  const std::size_t size = std::strlen(text);
  if (size > before.ending.size() - before.ending_size) return;
  std::memcpy(before.ending.data() + before.ending_size, text, size);
  before.ending_size += size;
}

void restore_and_crash(int signal_number) {
  (void)!::write(STDOUT_FILENO, before.ending.data(), before.ending_size);
  (void)::tcsetattr(STDOUT_FILENO, TCSANOW, &before.settings);
  (void)std::raise(signal_number);  // SA_RESETHAND: now by the default action
}

void restore_at_a_crash() {
  for (const char* capability : {"sgr0", "cnorm", "rmcup"}) add_ending(capability);
  struct sigaction action {};
  action.sa_handler = restore_and_crash;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (const int crash : kCrashes) (void)::sigaction(crash, &action, nullptr);
}

enum Pair : short { kSoftPair = 1, kGoodPair, kWarningPair, kBadPair };

attr_t attributes(Look look) {
  const auto colour = [](Pair pair) -> attr_t {
    return has_colors() ? static_cast<attr_t>(COLOR_PAIR(pair)) : A_NORMAL;
  };
  switch (look) {
    case Look::kPlain:
      return A_NORMAL;
    case Look::kSoft:
      return colour(kSoftPair);
    case Look::kStrong:
      return A_BOLD;
    case Look::kGood:
      return colour(kGoodPair) | A_BOLD;
    case Look::kWarning:
      return colour(kWarningPair) | A_BOLD;
    case Look::kBad:
      return colour(kBadPair) | A_BOLD;
    case Look::kReverse:
      return A_REVERSE;
  }
  return A_NORMAL;
}

void prepare_colours() {
  if (!has_colors()) return;
  start_color();
  // The terminal's own ground and ink, be they light or dark.
  use_default_colors();
  init_pair(kSoftPair, COLOR_CYAN, -1);
  init_pair(kGoodPair, COLOR_GREEN, -1);
  init_pair(kWarningPair, COLOR_YELLOW, -1);
  init_pair(kBadPair, COLOR_RED, -1);
}

// Shows as much of the text as fits before the right margin, where some characters are two wide.
void put(const std::string& text) {
  std::mbstate_t state{};
  const char* from = text.c_str();
  std::size_t left = text.size();
  while (left > 0) {
    wchar_t character = 0;
    const std::size_t bytes = std::mbrtowc(&character, from, left, &state);
    if (bytes == 0 || bytes > left) return;
    const int width = ::wcwidth(character);
    // What the terminal may take for more or less than one place would shift what follows.
    const wchar_t shown[] = {width == 1 || width == 2 ? character : L'?', L'\0'};
    if (getcurx(stdscr) + std::max(width, 1) > COLS) return;
    addwstr(shown);
    if (getcurx(stdscr) == 0) return;  // the last place of the line is taken
    from += bytes;
    left -= bytes;
  }
}

}  // namespace

bool speaks_utf8() {
  return std::setlocale(LC_ALL, "") != nullptr &&
         std::string_view(::nl_langinfo(CODESET)) == "UTF-8";
}

Screen::Screen(bool utf8) : utf8_(utf8) {
  (void)::tcgetattr(STDOUT_FILENO, &before.settings);
  if (newterm(nullptr, stdout, stdin) == nullptr) {
    throw std::runtime_error("this terminal cannot be used");
  }
  restore_at_a_crash();
  prepare_colours();
  cbreak();
  noecho();
  nonl();
  keypad(stdscr, TRUE);
  set_escdelay(25);
  nodelay(stdscr, TRUE);
  curs_set(0);
}

Screen::~Screen() {
  endwin();
  for (const int crash : kCrashes) (void)std::signal(crash, SIG_DFL);
}

Size Screen::size() const {
  return {static_cast<std::size_t>(std::max(1, COLS)),
          static_cast<std::size_t>(std::max(1, LINES))};
}

void Screen::resize() {
  winsize now{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &now) == 0 && now.ws_row > 0 && now.ws_col > 0) {
    resizeterm(now.ws_row, now.ws_col);
  }
}

void Screen::forget() {
  clearok(stdscr, TRUE);
}

void Screen::show(const std::vector<Line>& lines) {
  erase();
  for (int row = 0; row < LINES && row < static_cast<int>(lines.size()); ++row) {
    move(row, 0);
    for (const Piece& piece : lines[static_cast<std::size_t>(row)].pieces()) {
      if (getcury(stdscr) != row) break;
      attrset(static_cast<int>(attributes(piece.look)));
      put(utf8_ ? piece.text : to_ascii(piece.text));
    }
  }
  attrset(A_NORMAL);
  refresh();
}

Screen::Key Screen::key() {
  switch (getch()) {
    case ERR:
      return Key::kNone;
    case 'w':
      return Key::kWork;
    case 'r':
      return Key::kRequests;
    case 'f':
      return Key::kInFlight;
    case 'q':
    case 'Q':
      return Key::kQuit;
    case 'L' & 0x1F:
      return Key::kRepaint;
    default:
      return Key::kOther;
  }
}

}  // namespace pool_server::views
