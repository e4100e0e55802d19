"""Factors a number: pool-server --program 'python3 -u examples/program/primes.py'"""

from pool_server_worker import RequestError, serve


def factors(text):
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) > 1):
        raise RequestError("not a number from 2 to 999999999999999")
    number, found, divisor = int(text), [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return " ".join(map(str, found + [number] * (number > 1)))


serve(factors)
