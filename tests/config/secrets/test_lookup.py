"""Look-up of the secrets and files that relay.toml refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.config.file import ConfigFile, load_config
from relay.core.errors import ConfigError
from tests.building import OTHER_SECRET, SECRET
from tests.certificates import Authority
from tests.core.writing import subscription_with
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from relay.core.config.endpoint import Endpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


def write(path: Path, **values: str) -> None:
    path.write_text(subscription_with(**({"secret": f'"{SECRET.text}"'} | values)))


def endpoint_in(path: Path) -> Endpoint:
    return load_config(path).endpoints["s"]


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def test_header_values_are_literal_env_or_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_API_KEY", "from the environment")
    (path.parent / "crm.key").write_text("from a file\n")
    write(path, headers='{ "X-Team" = "crm", "X-Api-Key" = "env:CRM_API_KEY", "X-Other" = "file:crm.key" }')
    assert endpoint_in(path).headers == {
        "X-Team": "crm",
        "X-Api-Key": "from the environment",
        "X-Other": "from a file",
    }


def test_headers_may_be_a_separate_table(path: Path) -> None:
    write(path)
    path.write_text(path.read_text() + '\n[subscriptions.headers]\n"X-Team" = "crm"\n"X-Key" = "env:NOWHERE"\n')
    assert problems_of(path) == [
        "11 subscriptions[0].headers.X-Key: s: the environment variable NOWHERE is not set"
    ]  # fmt: skip


def test_all_missing_values_are_reported_with_their_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWO_LINES", "hunter2\nX-Evil: 1")
    (path.parent / "not.pem").write_text("hunter2")
    write(
        path,
        secret='["env:NEW", "env:OLD"]',
        headers='{ "X-A" = "env:TWO_LINES", "X-B" = "é", "X-C" = "file:nowhere.key" }',
        auth='{ username = "a:b", password = "env:PASSWORD" }',
        ca_file='"not.pem"',
    )
    problems = problems_of(path)
    assert [problem.partition(": ")[0] for problem in problems] == [
        "8 subscriptions[0].secret[0]",
        "8 subscriptions[0].secret[1]",
        "9 subscriptions[0].headers.X-A",
        "9 subscriptions[0].headers.X-B",
        "9 subscriptions[0].headers.X-C",
        "10 subscriptions[0].auth.username",
        "10 subscriptions[0].auth.password",
        "11 subscriptions[0].ca_file",
    ]
    assert "hunter2" not in "".join(problems)
    assert "the file contains no certificate (PEM)" in problems[-1]


def test_duplicate_secret_value_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAME", SECRET.text)
    write(path, secret=f'["{SECRET.text}", "env:SAME"]')
    assert problems_of(path) == [
        "8 subscriptions[0].secret[1]: s: the same secret is listed before it; remove one of them"
    ]


def test_authorities_file_is_relative_to_relay_toml(path: Path) -> None:
    authority = Authority()
    (path.parent / "ca.pem").write_text(authority.pem)
    write(path, ca_file='"ca.pem"')
    assert endpoint_in(path).ca == authority.pem.strip()


def test_text_between_certificates_is_ignored(path: Path) -> None:
    first, second = Authority().pem, Authority().pem
    (path.parent / "ca.pem").write_text(f"# Főtanúsítvány\n{first}\n# another\n{second}")
    write(path, ca_file='"ca.pem"')
    assert endpoint_in(path).ca == first + second.strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file contains no certificate (PEM)"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "the file contains an invalid certificate"),
    ],
)
def test_file_without_authorities_is_an_error(path: Path, text: str, problem: str) -> None:
    (path.parent / "ca.pem").write_text(text)
    write(path, ca_file='"ca.pem"')
    [message] = problems_of(path)
    assert message.startswith(f"9 subscriptions[0].ca_file: s: {problem}")


async def test_every_referenced_file_is_watched(path: Path) -> None:
    former, latter = Authority(), Authority()
    files = {name: path.parent / name for name in ("new.key", "x.key", "token", "ca.pem")}
    for file, text in zip(files.values(), (SECRET.text, "a", "b", former.pem), strict=True):
        file.write_text(text)
    write(
        path,
        secret='["file:new.key"]',
        headers='{ X = "file:x.key" }',
        auth='{ bearer = "file:token" }',
        ca_file='"ca.pem"',
    )
    async with ConfigFile(path, 0.001) as rules:

        def in_force() -> Endpoint:
            return rules.current.endpoints["s"]

        files["new.key"].write_text(OTHER_SECRET.text)
        await eventually(lambda: in_force().secrets == (OTHER_SECRET,))
        files["x.key"].write_text("changed")
        await eventually(lambda: in_force().headers["X"] == "changed")
        files["token"].write_text("changed")
        await eventually(lambda: in_force().headers["Authorization"] == "Bearer changed")
        files["ca.pem"].write_text(latter.pem)
        await eventually(lambda: in_force().ca == latter.pem.strip())


def test_unverified_tls_causes_a_warning(path: Path) -> None:
    write(path, verify_tls="false")
    with capture_logs() as logs:
        ConfigFile(path)
    [line] = logs
    assert (line["event"], line["subscription"], line["log_level"]) == ("config.tls_not_verified", "s", "warning")
