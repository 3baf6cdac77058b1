"""`relay check` and `relay explain`."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config.file import load_config
from relay.core.errors import ConfigError
from tests.cli.running import RULES, invoke, main_here, relay

SAMPLES = sorted((Path(__file__).parents[1] / "linq" / "payloads" / "samples").glob("*.json"))
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

GOOD = f"""
[[topics]]
name = "support"
events = ["message.received", "reaction.*"]
lines = ["+16465550123"]
direction = "inbound"
service = ["iMessage", "RCS"]

[[topics]]
name = "everything"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "support"
url = "http://[::1]:8080/linq"
secret = "{SECRET}"
retry = ["5s", "2m"]
"""

MISTAKES = """
[[topics]]
name = "support"
events = ["message..received"]
lines = ["(646) 555-0123"]
colour = "blue"

[[topics]]
name = "support"
events = []

[[subscriptions]]
name = "bot"
topic = "suport"
url = "ftp://bot"
secret = "hunter2"
retry = ["5 seconds"]
"""
PLACES = {4: "message..received", 5: "E.164", 6: "colour", 9: "more than once", 10: "empty"}
PLACES |= {14: "suport", 15: "ftp://bot", 16: "secret", 17: "5 seconds"}


def sample(name: str) -> Path:
    return next(path for path in SAMPLES if path.stem == name)


# --- check ---------------------------------------------------------------------------------------------


def test_valid_config_is_shown() -> None:
    Path("relay.toml").write_text(GOOD)
    said = invoke("check")
    assert said.code == 0
    for text in (
        "support",
        "message.received, reaction.*",
        "+16465550123",
        "direction = inbound, service = iMessage/RCS",
        "every line",
        "http://[::1]:8080/linq",
        "5s 2m",
        "relay.toml is valid.",
    ):
        assert text in said.out
    assert SECRET not in said.out


def test_valid_config_in_json() -> None:
    Path("relay.toml").write_text(GOOD)
    assert invoke("check", "--json").json == {"ok": True, "topics": 2, "subscriptions": 1, "teams": 0, "warnings": []}


def test_relay_config_chooses_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere.toml").write_text(RULES)
    monkeypatch.setenv("RELAY_CONFIG", "elsewhere.toml")
    assert "elsewhere.toml is valid." in invoke("check").out


def test_unknown_event_type_is_a_warning_with_a_hint() -> None:
    Path("relay.toml").write_text('[[topics]]\nname = "x"\nevents = ["message.recieved", "brand.new.*"]\n')
    said = invoke("check", "--json")
    assert said.code == 0
    typo, new = said.json["warnings"]
    assert 'did you mean "message.received"?' in typo
    assert "brand.new.*" in new
    assert "message.recieved" in invoke("check").out


def test_linq_patterns_are_checked_by_api_version() -> None:
    rules = '[linq]\nevents = ["contact.*"]\n[linq.v2]\nevents = ["poll.*", "message.red"]\n'
    Path("relay.toml").write_text(f'{rules}[[topics]]\nname = "x"\nevents = ["contact.*", "poll.*"]\n')
    assert invoke("check", "--json").json["warnings"] == [
        '[linq]: no known event type matches "contact.*"',
        '[linq.v2]: no known event type matches "poll.*"',
        '[linq.v2]: no known event type matches "message.red"; did you mean "message.read"?',
    ]


def test_shape_does_not_reach_events_of_v2() -> None:
    Path("relay.toml").write_text(f'{GOOD}\nshape = "2025-01-01"\n[linq.v2]\n')
    [warning, *_] = invoke("check", "--json").json["warnings"]
    assert warning.startswith('subscription bot: shape = "2025-01-01" does not translate events of the v2 API')
    for api, count in (("v2", 1), ("v3", 0)):
        Path("relay.toml").write_text(f'{GOOD}\nshape = "2025-01-01"\napi = "{api}"\n[linq.v2]\n')
        assert sum("translate" in each for each in invoke("check", "--json").json["warnings"]) == count


async def test_every_mistake_is_reported_with_its_line() -> None:
    Path("relay.toml").write_text(MISTAKES)
    said = await relay("check")
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    told = [line for line in said.err.splitlines() if "relay.toml:" in line]
    assert {int(line.split(":")[1].split()[0]) for line in told} == set(PLACES)
    for number, about in PLACES.items():
        assert any(f"relay.toml:{number} " in line and about in line for line in told), about


async def test_every_mistake_in_json() -> None:
    Path("relay.toml").write_text(MISTAKES)
    said = await main_here("check", "--json")
    assert (said.code, said.err) == (2, "")
    assert said.json["ok"] is False
    assert {int(problem["place"].split(":")[1].split()[0]) for problem in said.json["problems"]} == set(PLACES)
    assert all(problem["message"] for problem in said.json["problems"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ("[[topics", "not TOML"),
        (GOOD.replace(f'"{SECRET}"', '"env:BOT_SECRET"'), "BOT_SECRET is not set"),
        (GOOD.replace(f'"{SECRET}"', '"file:bot.secret"'), "bot.secret cannot be read"),
        (GOOD.replace(SECRET, "whsec_not*base64"), "not whsec_ and base64"),
    ],
    ids=["no file", "no TOML", "no variable", "no secret file", "no secret"],
)
async def test_unusable_option_is_no_traceback(text: str | None, says: str) -> None:
    if text is not None:
        Path("relay.toml").write_text(text)
    said = await main_here("check")
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert says in said.err


async def test_all_wrong_variables_are_reported() -> None:
    said = await main_here(
        "check", RELAY_LISTEN="here", REDIS_URL="http://x", RELAY_SECRET_KEY="short", RELAY_LOG_LEVEL="x"
    )
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    for name in ("RELAY_LISTEN", "REDIS_URL", "RELAY_SECRET_KEY", "RELAY_LOG_LEVEL"):
        assert name in said.err


def test_topic_with_messages_of_both_apis_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = '[[topics]]\nname = "t"\nevents = ["message.*"]\n[[topics]]\nname = "c"\nevents = ["call.ended"]\n'
    push = f'[[subscriptions]]\nname = "bot"\ntopic = "t"\nurl = "https://x.example"\nsecret = "{SECRET}"\n'
    said = []
    for rules in (topics, topics.replace("[[topics]]", '[[topics]]\napi = "v3"'), topics + push + 'api = "v2"\n'):
        Path("relay.toml").write_text("[linq.v2]\n" + rules)
        said.append(invoke("check", "--json").json["warnings"])
    assert [[warning.partition(",")[0] for warning in each] for each in said] == [
        ["topic t: with [linq.v2] it has each message twice"],
        [],
        [],
    ]
    Path("relay.toml").write_text("[linq.v2]\n" + topics)
    monkeypatch.setenv("LINQ_V2_TOKEN", "token")
    assert invoke("check", "--json").json["warnings"] == []


async def test_check_warns_of_unverified_tls_and_masks_passwords() -> None:
    url = "https://user:hunter2@crm.example.com/"
    text = GOOD.replace("http://[::1]:8080/linq", url).replace("retry =", "verify_tls = false\nretry =")
    Path("relay.toml").write_text(text)
    said = await main_here("check")
    assert said.code == 0
    assert "subscription bot: its certificate is not verified" in said.out
    assert "hunter2" not in said.out


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://\u0436:\u043f@host/", "not in Latin-1"),
        ("http://a%3Ab:secret@host/", "colon"),
        ("http://a..b/", "not a name that DNS can have"),
        (f"http://{64 * 'a'}.example/", "not a name that DNS can have"),
        ("http://h%41st/", "not a name that DNS can have"),
    ],
)
def test_url_that_cannot_be_sent_is_refused(tmp_path: Path, url: str, reason: str) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(GOOD.replace("http://[::1]:8080/linq", url))
    with pytest.raises(ConfigError, match=reason) as caught:
        load_config(path)
    [problem] = caught.value.problems
    assert "subscriptions[0].url" in problem.place
    assert "secret" not in problem.message
    assert "\u043f" not in problem.message


async def test_no_command_shows_a_secret_of_a_url(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    for url in ("http://bot:hunter2@127.0.0.1:1/in?token=hunter2", "http://bot:hun/ter2@127.0.0.1:1/?token=hunter2"):
        Path("relay.toml").write_text(GOOD.replace("http://[::1]:8080/linq", url))
        for command in ("check", "check --json", f"explain {SAMPLES[0]}", "subscriptions list", "doctor"):
            said = await main_here(*command.split())
            assert said.out + said.err
            assert "ter2" not in said.out + said.err, command
        assert "http://***@127.0.0.1:1/" in (await main_here("check")).out + (await main_here("check")).err
