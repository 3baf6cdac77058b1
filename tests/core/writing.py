"""relay.toml files that are valid except for one value."""

from __future__ import annotations


def topic_with(line: str) -> str:
    """Return a valid topic with `line` as its third line."""
    events = "" if line.startswith("events") else '\nevents = ["*"]'
    return f'[[topics]]\nname = "t"\n{line}{events}'


def subscription_with(**values: str) -> str:
    """Return a file with a topic and a subscription that is valid except for the given values, in TOML."""
    fields = {"name": '"s"', "topic": '"t"', "url": '"https://a.b"', "secret": '"env:S"'} | values
    return topic_with('events = ["*"]') + "\n[[subscriptions]]\n" + "\n".join(f"{k} = {v}" for k, v in fields.items())
