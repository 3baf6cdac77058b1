"""Files that are good but for one thing."""

from __future__ import annotations


def topic_with(line: str) -> str:
    """A good topic but for `line`, its third."""
    events = "" if line.startswith("events") else '\nevents = ["*"]'
    return f'[[topics]]\nname = "t"\n{line}{events}'


def subscription_with(**values: str) -> str:
    """A file with one topic and one subscription, whose values are good but for those given, in TOML."""
    fields = {"name": '"s"', "topic": '"t"', "url": '"https://a.b"', "secret": '"env:S"'} | values
    return topic_with('events = ["*"]') + "\n[[subscriptions]]\n" + "\n".join(f"{k} = {v}" for k, v in fields.items())
