"""The handlers in examples/, loaded by the server."""

import math
import random

from harness import RUNTIME_ERROR, ServerTestCase, plugin, run_to_end
from timing import Stopwatch

SUDOKU = plugin("sudoku")
FACTOR = plugin("factor")

INVALID = "ERROR: invalid input"
NO_SOLUTION = "result: NoSolution"

EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
EASY_SOLVED = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
HARD = (
    "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..",  # Inkala 2012
    "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3..",  # Inkala 2006
    "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9",  # against brute force
    "4.....8.5.3..........7......2.....6.....8.4......1.......6.3.7.5..2.....1.4......",
    "98.7.....6.....87...7.....6.9.8.....5...9.....4...........5.9....1..........43..1",
    ".......1.4.........2...........5.4.7..8...3....1.9....3..4..2...5.1........8.6...",  # 17 givens
)
# The givens agree with each other.
UNSOLVABLE = (
    "12345678....................................9....................................",  # a cell without a digit
    "..9.287..8.6..4..5..3.....46.........2.71345.........23.....5..9..4..8.7..125.3..",
    ".9.3....1....8..46......8..4.5.6..3...32756...6..1.9.4..1......58..2....2....7.6.",
    "....41....6.....2...2......32.6.........5..417.......2......23..48......5.1..2...",
    "9..1....4.14.3.8....3....9....7.8..18....3..........3..21....7...9.4.5..5...16..3",
)
# Unsolvable too, and seconds of work to prove it.
PATHOLOGICAL = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4........."


def units():
    for index in range(9):
        yield [9 * index + other for other in range(9)]
        yield [9 * other + index for other in range(9)]
        corner = index // 3 * 27 + index % 3 * 3
        yield [corner + 9 * (other // 3) + other % 3 for other in range(9)]


def disguise(grid, rng):
    """The same puzzle with its rows, columns and digits exchanged as the rules allow."""
    def order():
        return [3 * band + line for band in rng.sample(range(3), 3) for line in rng.sample(range(3), 3)]
    digits = str.maketrans("123456789", "".join(rng.sample("123456789", 9)))
    columns = order()
    return "".join(grid[9 * row + column] for row in order() for column in columns).translate(digits)


def without(grid, count, rng):
    """The grid with so many of its cells emptied."""
    empty = set(rng.sample(range(81), count))
    return "".join("." if cell in empty else digit for cell, digit in enumerate(grid))


class Sudoku(ServerTestCase):
    def connect_to_sudoku(self, *options):
        return self.connect(self.start(f"--handler={SUDOKU}", *options, handler=None))

    def check_solution(self, puzzle, reply):
        self.assertRegex(reply, r"\Aresult: [1-9]{81}\Z")
        solution = reply.removeprefix("result: ")
        for unit in units():
            self.assertEqual(len({solution[cell] for cell in unit}), 9, (unit, solution))
        for given, digit in zip(puzzle, solution):
            if given in "123456789":
                self.assertEqual(digit, given, solution)

    def check_all(self, client, puzzles):
        client.send(*puzzles)
        for puzzle, reply in zip(puzzles, client.lines(len(puzzles))):
            with self.subTest(puzzle=puzzle):
                self.check_solution(puzzle, reply)

    def test_easy(self):
        """Fails when a puzzle with one solution gets another reply, or 0 and . are not both empty cells."""
        client = self.connect_to_sudoku()
        for puzzle in (EASY, EASY.replace(".", "0"), EASY.replace(".", "0", 20), EASY_SOLVED):
            with self.subTest(puzzle=puzzle):
                self.assertEqual(client.ask(puzzle), "result: " + EASY_SOLVED)

    def test_hard(self):
        """Fails when a hard puzzle is solved wrongly, or the search misses what keeps it in milliseconds."""
        client = self.connect_to_sudoku()
        answers = Stopwatch()
        self.check_all(client, HARD)
        self.assert_quick(answers.seconds, 1)

    def test_many(self):
        """Fails when a solution breaks a rule or changes a given, or a search leaves traces in the next one."""
        rng = random.Random(9)
        puzzles = [disguise(HARD[index % len(HARD)], rng) for index in range(24)]
        puzzles += [without(disguise(EASY_SOLVED, rng), count, rng) for count in range(30, 82, 2)]
        self.assertEqual(len(puzzles), 50)
        self.check_all(self.connect_to_sudoku("--workers=2"), puzzles)

    def test_no_solution(self):
        """Fails when contradictions within the givens pass, or a search without a solution ends otherwise."""
        client = self.connect_to_sudoku()
        contradictions = ["5" + EASY[1:8] + "5" + EASY[9:], "7" * 81, EASY_SOLVED[:80] + "8"]
        for unit in list(units())[:6]:
            contradictions.append("".join("4" if cell in (unit[0], unit[8]) else "." for cell in range(81)))
        for puzzle in (*contradictions, *UNSOLVABLE):
            with self.subTest(puzzle=puzzle):
                self.assertEqual(client.ask(puzzle), NO_SOLUTION)

    def test_invalid_input(self):
        """Fails when anything but 81 cells is taken for a puzzle, or mistakes go unseen after a contradiction."""
        client = self.connect_to_sudoku()
        for line in ("x", EASY[:80], EASY + ".", EASY * 2, EASY.replace(".", "*"), EASY.replace(".", " "),
                     EASY[:80] + "x", EASY[:80] + "\t", "-" + EASY[1:], "55" + EASY[2:80] + "a",
                     EASY[:80].encode() + b"\0", EASY[:80].encode() + b"\xb9", EASY[:79] + "é"):
            with self.subTest(line=line):
                self.assertEqual(client.ask(line), INVALID)

    def test_option_empty(self):
        """Fails when the option is not heeded, or takes the place of 0 and . instead of joining them."""
        client = self.connect_to_sudoku("--handler-option=empty=*")
        for puzzle in (EASY, EASY.replace(".", "*"), EASY.replace(".", "*", 10).replace(".", "0", 10)):
            with self.subTest(puzzle=puzzle):
                self.assertEqual(client.ask(puzzle), "result: " + EASY_SOLVED)
        self.assertEqual(client.ask(EASY.replace(".", "_")), INVALID)

    def test_bad_options(self):
        """Fails when the server starts with a value that makes no sense, or does not tell which option it is."""
        for option in ("empty=", "empty=5", "empty=ab", "empty=é", "blank=*"):
            with self.subTest(option=option):
                ended = run_to_end(f"--handler={SUDOKU}", f"--handler-option={option}", "--listen=127.0.0.1:0")
                self.assertEqual(ended.returncode, RUNTIME_ERROR, ended.stderr)
                self.assertIn(option.partition("=")[0], ended.stderr)

    def test_stops_when_told(self):
        """Fails when a long search does not heed its stop token, so that its worker is given up as stuck."""
        server = self.start(f"--handler={SUDOKU}", "--workers=1", "--task-timeout=200ms", handler=None)
        client = self.connect(server)
        self.assertEqual(client.ask(PATHOLOGICAL), "ERROR: timed out after 200 ms")
        self.assertEqual(client.ask(EASY), "result: " + EASY_SOLVED)
        stats = server.wait_for_stats(lambda s: s["stuck_workers"] == 0, "no stuck worker")
        self.assertEqual((stats["timeouts"], stats["quarantined"]), (1, 0))


def is_prime(number):
    """Miller-Rabin with Jim Sinclair's bases for 64 bits, which are not the ones of the handler."""
    if number < 2 or number % 2 == 0:
        return number == 2
    twos = (number - 1 & 1 - number).bit_length() - 1
    for base in (2, 325, 9375, 28178, 450775, 9780504, 1795265022):
        powers = [pow(base, number - 1 >> twos, number)]
        if powers[0] in (0, 1):
            continue
        powers += [pow(base, number - 1 >> twos - done, number) for done in range(1, twos)]
        if number - 1 not in powers:
            return False
    return True


def divide_out(number):
    """Prime factors, the slow way."""
    factors = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


class Factor(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.client = self.connect(self.start(f"--handler={FACTOR}", handler=None))

    def check(self, numbers):
        """The replies to the numbers are their prime factors, whichever these are."""
        self.client.send(*map(str, numbers))
        for number, reply in zip(numbers, self.client.lines(len(numbers))):
            with self.subTest(number=number):
                self.assertRegex(reply, r"\Aresult: [0-9]+( [0-9]+)*\Z")
                factors = [int(factor) for factor in reply.split(" ")[1:]]
                self.assertEqual(math.prod(factors), number)
                self.assertEqual(factors, sorted(factors))
                self.assertEqual([factor for factor in factors if not is_prime(factor)], [])

    def check_products(self, *products):
        """The reply to each product is what it was made of."""
        for factors in products:
            with self.subTest(factors=factors):
                self.assertEqual(self.client.ask(str(math.prod(factors))),
                                 "result: " + " ".join(map(str, sorted(factors))))

    def test_small_numbers(self):
        """Fails when a small number is factored wrongly, out of order or without multiplicity."""
        numbers = range(2, 2001)
        self.client.send(*map(str, numbers))
        for number, reply in zip(numbers, self.client.lines(len(numbers))):
            self.assertEqual(reply, "result: " + " ".join(map(str, divide_out(number))))

    def test_around_the_end_of_trial_division(self):
        """Fails when a number whose factors are near the limit of trial division is taken for a prime."""
        self.check([*range(250 ** 2, 250 ** 2 + 50), *range(256 ** 2 - 300, 256 ** 2 + 1200)])

    def test_random_64_bit_numbers(self):
        """Fails when a reply leaves a composite, or has another product."""
        rng = random.Random(64)
        self.check([rng.randrange(1 << 63, 1 << 64) for _ in range(200)])

    def test_two_large_primes(self):
        """Fails when the search for a divisor finds a wrong one, or takes seconds, as where a square overflows."""
        rng = random.Random(32)
        primes = [number for number in (rng.randrange(1 << 31, 1 << 32) for _ in range(1000)) if is_prime(number)]
        answers = Stopwatch()
        self.check_products((4294967279, 4294967291), *zip(primes[:20], primes[20:40]))
        self.assert_quick(answers.seconds, 3)

    def test_powers_of_primes(self):
        """Fails when the search goes on for ever where every cycle shows the number itself."""
        self.check_products(*([prime] * 2 for prime in (257, 263, 65521, 65537, 1000003, 2147483647, 4294967291)))
        self.check_products([2] * 63, [3] * 40, [257] * 7, [263] * 7, [65521] * 4, [2097143] * 3)

    def test_extremes(self):
        """Fails at the ends of the range, or where a weaker test takes a composite for a prime."""
        self.check_products((3, 5, 17, 257, 641, 65537, 6700417), (18446744073709551557,), (2,),
                            (149491, 747451, 34233211),  # passes for all bases up to 31
                            (151, 751, 28351))           # passes for 2, 3, 5 and 7

    def test_invalid_input(self):
        """Fails when a line that is not such a number is taken for one."""
        self.assertEqual(self.client.ask(""), "ERROR: empty request")
        for line in ("0", "1", "-3", "+3", "18446744073709551616", "18446744073709551618", "99999999999999999999999",
                     "007", "00", "12 ", " 12", "1 2", "12x", "x", "0x10", "1e3", "2.0", b"12\0", "１２"):
            with self.subTest(line=line):
                self.assertEqual(self.client.ask(line), INVALID)
