#include "views/canvas.h"

#include "views/plain_text.h"

namespace pool_server::views {

Line& Line::add(std::string_view text, Look look) {
  if (text.empty()) return *this;
  pieces_.push_back({std::string(text), look});
  length_ += length_of(text);
  return *this;
}

Line& Line::to(std::size_t column) {
  if (column > length_) return add(std::string(column - length_, ' '));
  return length_ == 0 ? *this : add(" ");
}

Line& Line::right(std::string_view text, std::size_t column, Look look) {
  const std::size_t length = length_of(text);
  return to(column > length ? column - length : 0).add(text, look);
}

void Line::cut_at(std::size_t column) {
  while (length_ > column) {
    Piece& last = pieces_.back();
    const std::size_t before = length_ - length_of(last.text);
    last.text = before < column ? cut(last.text, column - before) : "";
    length_ = before + length_of(last.text);
    if (last.text.empty()) pieces_.pop_back();
  }
}

std::string Line::text() const {
  std::string text;
  for (const Piece& piece : pieces_) text += piece.text;
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace pool_server::views
