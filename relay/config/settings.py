"""The environment, read once: every variable the relay knows, typed, frozen, with all mistakes told together by name.

Variables come from the environment and, below it, from `.env` in the working directory. A command names the ones it
cannot do without (`Settings.load(needs=...)`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from relay.core.durations import format_duration, parse_duration
from relay.core.errors import Problem, SettingsError
from relay.core.redis_url import check_redis_url
from relay.core.secret import normal_key
from relay.net.listen_address import EVERY_ADDRESS, Listen, parse_listen

DEFAULT_LINQ_V3 = "https://api.linqapp.com/api/partner"
DEFAULT_LINQ_V2 = "https://api.linqapp.com/api/partner/v2"
_DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _listen(value: Any) -> Any:
    return parse_listen(value) if isinstance(value, str) else value


def _public_url(text: str) -> str:
    try:
        url = urlsplit(text)
        host = url.hostname
        fits = url.port != 0 and not any(map(str.isspace, text))  # reading the port checks it
    except ValueError:
        host, fits = None, False
    if not host or not fits or url.scheme not in {"http", "https"}:
        raise ValueError(f'"{text}" is not a URL such as https://relay.example.com')
    if url.query or url.fragment or "?" in text or "#" in text:
        raise ValueError("it must have no query and no fragment: the relay adds its own")
    if url.username or url.password:
        raise ValueError("it must have no user and no password: Linq shows it to everybody who may see subscriptions")
    if url.scheme == "http" and host not in LOOPBACK:
        raise ValueError("it must be https: Linq posts nowhere else")
    default = f":{_DEFAULT_PORTS[url.scheme]}"  # left out, as Linq may
    return url._replace(netloc=url.netloc.removesuffix(default)).geturl().rstrip("/")


def _api_url(text: str) -> str:
    try:
        url = urlsplit(text)
        fits = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f'"{masked_url(text)}" is not a URL such as {DEFAULT_LINQ_V3}')
    return text


def _redis_url(text: str) -> str:
    check_redis_url(text)
    return text


def _header_value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text.isascii() or not text.isprintable():
        raise ValueError("it has a character that no HTTP header can carry; was it copied whole and alone?")
    return SecretStr(text)


def _secret_key(secret: SecretStr) -> SecretStr:
    return SecretStr(normal_key(secret.get_secret_value()))


def _secret_keys(secrets: SecretStr) -> SecretStr:
    return SecretStr(",".join(map(normal_key, secrets.get_secret_value().split(","))))


def _duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


ListenAt = Annotated[Listen, NoDecode, BeforeValidator(_listen)]


class Settings(BaseSettings):
    """What the environment says.

    A field's name is its variable's in lower case; its docstring is what is said when the variable is missing.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_file=".env", extra="ignore", env_ignore_empty=True, use_attribute_docstrings=True
    )

    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = None
    """Redis or Valkey (redis://, rediss://, unix://, redis+sentinel://); without it `relay up` starts one of its own"""
    relay_public_url: Annotated[str, AfterValidator(_public_url)] | None = None
    """where Linq reaches the ingress, such as https://relay.example.com"""
    relay_listen: ListenAt = Listen(host=EVERY_ADDRESS, port=8080)
    """where the ingress listens"""
    relay_admin_listen: ListenAt = Listen(host="127.0.0.1", port=8081)
    """where health checks are answered apart from Linq's traffic"""
    relay_config: Path = Path("relay.toml")
    """the file with topics and subscriptions"""
    relay_data_dir: Path = Path(".relay")
    """where the embedded Redis keeps its data"""
    relay_secret_key: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    """urlsafe base64 of 32 bytes, which seals Linq's signing secrets at rest; `relay secret generate --for relay` makes
    one
    """
    relay_secret_key_old: Annotated[SecretStr, AfterValidator(_secret_keys)] | None = None
    """former RELAY_SECRET_KEYs, separated by commas; they still open what they sealed"""
    relay_replicas: Annotated[int, Field(ge=0)] = 0
    """how many replicas of Redis must have an event, too, before Linq is answered; with fewer the answer is 503"""
    relay_dedupe_window: Annotated[float, BeforeValidator(_duration), Field(ge=1)] = 6 * 3600.0
    """how long an event id is remembered, such as 6h; Linq's own retries end after about 30 minutes"""
    relay_memory_high_water: Annotated[float, Field(ge=0.1, le=1)] = 0.9
    """the part of Redis's maxmemory up to which events are accepted; above it Linq gets 503 and retries, and what was
    accepted has room to leave
    """
    relay_worker_nice: Annotated[int, Field(ge=0, le=19)] = 10
    """how far a worker gives way to other processes of its machine, Redis and the ingress first of all"""
    relay_log_level: Literal["debug", "info", "warning", "error"] = "info"
    """the least important lines to log"""
    relay_log_format: Literal["auto", "json", "console"] = "auto"
    """auto is console on a terminal, else json"""
    linq_api_v3_api_key: Annotated[SecretStr, AfterValidator(_header_value)] | None = None
    """Linq's API key"""
    linq_api_v3_base_url: Annotated[str, AfterValidator(_api_url)] = DEFAULT_LINQ_V3
    """where Linq's v3 API is"""
    linq_v2_token: Annotated[SecretStr, AfterValidator(_header_value)] | None = None
    """Linq's integration token for its v2 API"""
    linq_v2_base_url: Annotated[str, AfterValidator(_api_url)] = DEFAULT_LINQ_V2
    """where Linq's v2 API is"""
    linq_v2_webhook_secret: SecretStr | None = None
    """the secret of the Linq v2 subscription, of your own choosing; without it /webhooks/linq/v2 answers 503"""
    linq_v2_webhook_secret_old: SecretStr | None = None
    """the former LINQ_V2_WEBHOOK_SECRET, still accepted: v2 does not try again what is refused"""

    @classmethod
    def load(cls, *needs: str, env_file: Path | None = Path(".env"), **needed_with: str) -> Self:
        """The settings.

        `needs` are the fields that may not be missing; `needed_with` maps a field to another, with which it may not.

        Raises:
            SettingsError: naming every variable that is wrong or missing.
        """
        given = environment(env_file)
        needs += tuple(need for need, other in needed_with.items() if other.upper() in given)
        problems = [cls._not_set(need) for need in needs if need.upper() not in given]
        try:
            settings = cls(_env_file=env_file)  # type: ignore[call-arg]  # how pydantic-settings takes it
        except ValidationError as error:
            problems += [Problem(str(detail["loc"][0]).upper(), _sentence(detail)) for detail in error.errors()]
        if problems:
            raise SettingsError("The environment is not complete:", tuple(problems))
        return settings

    def require(self, *needs: str, because: str) -> None:
        """Makes sure that the fields in `needs` are there; `because` says what wants them.

        Raises:
            SettingsError: naming every variable that is missing.
        """
        problems = tuple(self._not_set(need) for need in needs if getattr(self, need) is None)
        if problems:
            raise SettingsError(f"The environment is not complete ({because}):", problems)

    @classmethod
    def _not_set(cls, need: str) -> Problem:
        return Problem(need.upper(), f"not set: {' '.join(str(cls.model_fields[need].description).split())}")

    def shown(self) -> dict[str, str]:
        """Every variable as it may be logged: secrets masked, durations readable."""
        shown = {name.upper(): str(value) for name, value in self if value is not None}
        for name in ("REDIS_URL", "RELAY_PUBLIC_URL", "LINQ_API_V3_BASE_URL", "LINQ_V2_BASE_URL"):
            if name in shown:
                shown[name] = masked_url(shown[name])
        shown["RELAY_DEDUPE_WINDOW"] = format_duration(self.relay_dedupe_window)
        return shown


def environment(env_file: Path | None = Path(".env")) -> dict[str, str]:
    """The variables that are set and not empty, those of `env_file` included, by their names in upper case."""
    from_file = dotenv_values(env_file) if env_file else {}
    return {name.upper(): value for source in (from_file, os.environ) for name, value in source.items() if value}


def masked_url(url: str) -> str:
    """`url` without its password, be it before the host or a parameter."""
    url = re.sub(r"([?&](?:sentinel_)?password=)[^&]*", r"\1***", url)
    return re.sub(r"(://[^/?#]*?:)[^/?#]*@", r"\1***@", url)


def _sentence(detail: Any) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return str(detail["msg"])
