// Solves sudokus.
//
//   request   81 cells, row by row: 1 to 9 for a given, 0 or . for an empty cell
//   reply     the 81 digits of a solution, or NoSolution
//   option    empty=C: one more character for an empty cell

#include <array>
#include <bit>
#include <cstddef>
#include <pool-server/handler.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using Digits = unsigned;  // a set of digits: bit 0 for 1 to bit 8 for 9
using Cell = std::size_t;

constexpr Cell kCells = 81;
constexpr std::size_t kUnits = 27;
constexpr Digits kAllDigits = 0b111'111'111;
constexpr unsigned kNodesBetweenChecks = 1000;  // less than a millisecond of work

// For each cell its row, column and box, which are numbered 0-8, 9-17 and 18-26.
constexpr auto kUnitsOf = [] {
  std::array<std::array<std::size_t, 3>, kCells> units{};
  for (Cell cell = 0; cell < kCells; ++cell) {
    const std::size_t row = cell / 9;
    const std::size_t column = cell % 9;
    units[cell] = {row, 9 + column, 18 + row / 3 * 3 + column / 3};
  }
  return units;
}();

enum class Outcome { kSolved, kNoSolution, kStopped };

// Tries every way to fill the grid that the rules leave open.
class Search {
 public:
  explicit Search(const pool_server::Stop& stop) : stop_(stop) { missing_.fill(kAllDigits); }

  // False if the digit contradicts an earlier one.
  bool place_given(Cell cell, Digits digit) {
    if ((candidates(cell) & digit) == 0) return false;
    toggle(cell, digit);
    return true;
  }

  Outcome run() {
    if (++nodes_ % kNodesBetweenChecks == 0 && stop_.requested()) return Outcome::kStopped;
    const Choice choice = choose();
    if (choice.cell == kCells) return Outcome::kSolved;
    for (Digits left = choice.digits; left != 0; left &= left - 1) {
      const Digits digit = left & -left;  // the lowest one
      toggle(choice.cell, digit);
      const Outcome outcome = run();
      if (outcome != Outcome::kNoSolution) return outcome;
      toggle(choice.cell, digit);
    }
    return Outcome::kNoSolution;
  }

  std::string solution() const {
    std::string text;
    for (const Digits digit : grid_) text += static_cast<char>('1' + std::countr_zero(digit));
    return text;
  }

 private:
  // Where to go on, and with which digits: none in a dead end. kCells: the grid is full.
  struct Choice {
    Cell cell;
    Digits digits;
  };

  Digits candidates(Cell cell) const {
    const auto [row, column, box] = kUnitsOf[cell];
    return missing_[row] & missing_[column] & missing_[box];
  }

  // Places a digit, or takes it back.
  void toggle(Cell cell, Digits digit) {
    grid_[cell] ^= digit;
    for (const std::size_t unit : kUnitsOf[cell]) missing_[unit] ^= digit;
  }

  // The cell with the fewest candidates, unless a digit has but one place left in some unit.
  Choice choose() const {
    Choice best{kCells, 0};
    int fewest = 10;
    std::array<Digits, kUnits> once{};   // what has a place in the unit
    std::array<Digits, kUnits> twice{};  // what has several
    for (Cell cell = 0; cell < kCells; ++cell) {
      if (grid_[cell] != 0) continue;
      const Digits digits = candidates(cell);
      const int count = std::popcount(digits);
      if (count < fewest) {
        fewest = count;
        best = {cell, digits};
      }
      for (const std::size_t unit : kUnitsOf[cell]) {
        twice[unit] |= once[unit] & digits;
        once[unit] |= digits;
      }
    }
    if (once != missing_) return {0, 0};  // a digit has no place
    if (fewest <= 1) return best;
    for (Cell cell = 0; cell < kCells; ++cell) {
      if (grid_[cell] != 0) continue;
      for (const std::size_t unit : kUnitsOf[cell]) {
        const Digits only_here = candidates(cell) & ~twice[unit];
        if (only_here != 0) return {cell, only_here};
      }
    }
    return best;
  }

  const pool_server::Stop& stop_;
  unsigned nodes_ = 0;
  std::array<Digits, kCells> grid_{};     // the digit of each cell, or none
  std::array<Digits, kUnits> missing_{};  // what each unit still needs
};

class Sudoku {
 public:
  explicit Sudoku(const pool_server::HandlerOptions& options) {
    const std::string value = options.get("empty", ".");
    if (value.size() != 1 || value[0] < ' ' || value[0] > '~' || is_given(value[0])) {
      throw std::invalid_argument("empty=" + value + " is not one character other than 1 to 9");
    }
    empty_ = value[0];
  }

  pool_server::Reply handle(std::string_view request, const pool_server::Stop& stop) const {
    if (request.size() != kCells) return pool_server::Reply::error("invalid input");
    Search search(stop);
    bool contradiction = false;
    for (Cell cell = 0; cell < kCells; ++cell) {
      const char c = request[cell];
      if (is_given(c)) {
        contradiction |= !search.place_given(cell, Digits{1} << (c - '1'));
      } else if (c != '0' && c != '.' && c != empty_) {
        return pool_server::Reply::error("invalid input");
      }
    }
    const Outcome outcome = contradiction ? Outcome::kNoSolution : search.run();
    if (outcome == Outcome::kStopped) return pool_server::Reply::error("stopped");
    return outcome == Outcome::kSolved ? search.solution() : "NoSolution";
  }

 private:
  static bool is_given(char c) { return c >= '1' && c <= '9'; }

  char empty_;
};

}  // namespace

POOL_SERVER_HANDLER(Sudoku)
