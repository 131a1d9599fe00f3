"""Sums of integers of any size, as sums that fit into 64 bits.

A sum that has to be 0 is divided by what its terms have in common. Where it is still too great for 64 bits, its
coefficients are taken apart into digits, and one sum is made for each digit, as in adding with pen and paper: what it
leaves over, divided by the base, is carried into the next one. The sums are 0 together exactly when the great one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final

ROOM_BITS: Final = 60
"""Sums of absolute values stay below two to this power."""


@dataclass(frozen=True, slots=True)
class DigitSum:
    """One digit: coefficients times variables, plus the carry of the digit before, is `base` times the next carry.

    Attributes:
        coefficients: variable -> digit.
        base: None for the last digit: nothing is carried on, the sum is 0.
        carry: the next carry is between minus this and this.
    """

    coefficients: Mapping[int, int]
    base: int | None = None
    carry: int = 0


def digit_sums(total: Mapping[int, int], maxima: Sequence[int], room_bits: int = ROOM_BITS) -> list[DigitSum]:
    """The sums for one that has to be 0.

    Args:
        total: variable -> coefficient, none of them 0.
        maxima: of each variable; the smallest value of all is 0.

    Raises:
        ValueError: the variables alone are too great.

    Example:
        >>> digit_sums({0: 2**70, 1: -(2**71)}, [1, 1])
        [DigitSum(coefficients={0: 1, 1: -2}, base=None, carry=0)]
    """
    divisor = gcd(*total.values())
    rest = {variable: coefficient // divisor for variable, coefficient in total.items()}
    greatest = sum(abs(coefficient) * maxima[variable] for variable, coefficient in rest.items())
    if greatest.bit_length() <= room_bits:
        return [DigitSum(rest)]
    lots = sum(maxima[variable] for variable in rest)
    # Digits are at most half of the base, and a carry at most all lots: below, base times (lots + 1) fits.
    digit_bits = room_bits - 2 - lots.bit_length()
    if digit_bits < 2:
        raise ValueError(f"expected variables whose maxima add up to less than 2**{room_bits - 4}, got {lots}")
    base = 1 << digit_bits
    found = []
    carry = 0
    while True:
        digits = {}
        higher = {}
        for variable, coefficient in rest.items():
            digit = (coefficient + base // 2) % base - base // 2
            if digit:
                digits[variable] = digit
            if coefficient != digit:
                higher[variable] = (coefficient - digit) // base
        if not higher:
            found.append(DigitSum(digits))
            return found
        carry = (sum(abs(digit) * maxima[variable] for variable, digit in digits.items()) + carry) // base
        found.append(DigitSum(digits, base, carry))
        rest = higher
