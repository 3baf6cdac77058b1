"""A line: a phone number the company owns at Linq, written in E.164.

In a URL a line is its digits (`line=16465550123`), everywhere else it has its plus sign. Handles in payloads may also
be e-mail addresses; those are never lines.
"""

from __future__ import annotations

import re

import phonenumbers

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")  # ITU-T E.164: at most 15 digits, no leading zero


def is_line(text: object) -> bool:
    """Whether `text` is a number in E.164, such as +16465550123."""
    return isinstance(text, str) and _E164.fullmatch(text) is not None


def line_of_digits(digits: str) -> str | None:
    """The line that a URL's `line` parameter names; None if it cannot be one.

    A plus sign that was not percent-encoded arrives as a blank; both are taken.
    """
    line = "+" + digits.strip().removeprefix("+")
    return line if is_line(line) else None


def digits_of_line(line: str) -> str:
    """The line as a URL carries it."""
    return line.removeprefix("+")


def line_meant_by(text: str) -> str | None:
    """The line a person may have meant with `+1 (646) 555-0123`, for an error's hint; None if there is no telling."""
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    line = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return line if is_line(line) and phonenumbers.is_possible_number(number) else None
