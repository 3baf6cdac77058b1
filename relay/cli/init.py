"""`relay init`: a relay.toml and a .env to start with."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from relay.cli.command import command, commands
from relay.cli.output import say
from relay.core.errors import RelayError
from relay.core.secret import new_key, new_secret

app = commands()

RELAY_TOML = """\
# relay.toml: which events go to which topic, and which topic is pushed where.
# `relay check` checks it; running processes reload it when it changes.

# A topic is a Redis stream, relay:topic:<name>. Any number of consumer groups can read it.
[[topics]]
name = "everything"
events = ["*"]                            # event types: "message.received", "message.*" or "*"

# [[topics]]
# name = "support"
# events = ["message.received", "reaction.*"]
# lines = ["+16465550123"]                # only these lines; without it, all of them
# direction = "inbound"                   # only what customers send, not your own messages

# A push subscription sends a topic's events to an HTTPS endpoint.
# [[subscriptions]]
# name = "bot"
# topic = "everything"
# url = "https://bot.example.com/hooks/linq"
# secret = "env:BOT_SECRET"               # signs what is sent; the receiver verifies with it
# retry = ["5s", "30s", "2m", "10m"]      # waits before attempts 2, 3, ...; ms s m h d
# team = "crm"                            # its team sees it: backlog, attempts, dead letters

# A team helps itself, with tokens: `relay token create --team crm` prints one.
# [[teams]]
# name = "crm"
# topics = ["everything"]                 # what it may read and subscribe to; ["*"] for all
# contact = "#crm-oncall"
"""

ENVIRONMENT = """\
# Variables of linq-relay. Keep this file out of version control: it has secrets.

# Encrypts the signing secrets that Redis stores. Without it they cannot be read again: keep a copy.
RELAY_SECRET_KEY={key}

# Signs what is pushed to the subscription "bot" (relay.toml: secret = "env:BOT_SECRET").
BOT_SECRET={secret}

# Without REDIS_URL, `relay up` starts an embedded Redis.
# REDIS_URL=redis://localhost:6379/0

# With these two, `relay up` registers your lines at Linq.
# LINQ_API_V3_API_KEY=
# RELAY_PUBLIC_URL=https://relay.example.com
"""

NEXT = """
Next:
  relay check     checks relay.toml
  relay demo      shows the relay at work, without an account at Linq
  relay up        runs it; first set LINQ_API_V3_API_KEY and RELAY_PUBLIC_URL in .env"""


@command(app, examples=("relay init", "mkdir relay && cd relay && relay init"))
def init() -> None:
    """Write a commented relay.toml and a .env with new secrets into the working directory.

    Existing files are never changed; exit code 1 if both exist.
    """
    contents = {
        Path("relay.toml"): RELAY_TOML,
        Path(".env"): ENVIRONMENT.format(key=new_key(), secret=new_secret()),
    }
    written = [path for path, text in contents.items() if _write(path, text)]
    if not written:
        raise RelayError("relay.toml and .env exist already; nothing is written")
    for path in contents:
        say(f"{path} is written." if path in written else f"{path} exists already and is unchanged.")
    typer.echo(NEXT)


def _write(path: Path, text: str) -> bool:
    """Write a file that only its owner can read; False if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True
