"""Lines: phone numbers the company owns at Linq, in E.164.

In a URL a line is its digits (`line=16465550123`); everywhere else it has its plus sign. Handles in payloads may also
be e-mail addresses; those are never lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    import phonenumbers
else:
    phonenumbers = LazyModule("phonenumbers")  # for errors: 58 modules, 3 % of the CPU time in which a worker starts

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")  # ITU-T E.164: at most 15 digits, no leading zero


def is_line(text: object) -> bool:
    """Return True if `text` is a number in E.164, such as +16465550123."""
    return isinstance(text, str) and _E164.fullmatch(text) is not None


def line_of_digits(digits: str) -> str | None:
    """Parse a URL's `line` parameter; None if it is not a line.

    A plus sign that was not percent-encoded arrives as a space; both are accepted.
    """
    line = "+" + digits.strip().removeprefix("+")
    return line if is_line(line) else None


def digits_of_line(line: str) -> str:
    """Return the digits of `line`, for a URL."""
    return line.removeprefix("+")


def line_meant_by(text: str) -> str | None:
    """Guess the line that was meant with text such as `+1 (646) 555-0123`, for an error's hint; None if unclear."""
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    line = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return line if is_line(line) and phonenumbers.is_possible_number(number) else None
