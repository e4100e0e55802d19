#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pool_server::views {

// How a piece of a line looks: what it means, not its colour.
enum class Look : unsigned char { kPlain, kSoft, kStrong, kGood, kWarning, kBad, kReverse };

struct Piece {
  std::string text;
  Look look = Look::kPlain;
};

// A line on its way to a screen or a file, as pieces that follow one another.
class Line {
 public:
  // Appends text that is plain (see plain_text.h).
  Line& add(std::string_view text, Look look = Look::kPlain);
  // Goes on at that column; one blank after what is there already, if it is longer.
  Line& to(std::size_t column);
  // Appends text that ends before that column.
  Line& right(std::string_view text, std::size_t column, Look look = Look::kPlain);
  // Cuts off what is beyond that column.
  void cut_at(std::size_t column);

  std::size_t length() const { return length_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  std::string text() const;  // without blanks at its end

 private:
  std::vector<Piece> pieces_;
  std::size_t length_ = 0;  // in characters
};

}  // namespace pool_server::views
