"""The environment, read once: every variable of the relay, typed and frozen.

Variables come from the environment and, with lower precedence, from `.env` in the working directory. A command names
the variables that it requires (`Settings.load("relay_secret_key")`). All mistakes are reported together, by variable
name. A `RELAY_*` variable that the relay does not know is only warned of: it may be a misspelt name.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from relay.config import variable_forms as forms
from relay.config.attribute_docstrings import attribute_docstrings
from relay.config.page_settings import PageSettings
from relay.config.secrets.files import file_variable, read_dotenv, read_files
from relay.core.config.checks.mistakes import message_of
from relay.core.durations import format_duration
from relay.core.errors import Problem, SettingsError
from relay.core.redis_url.credentials import has_credentials, with_credentials
from relay.core.sharding.placement import MAX_SHARDS
from relay.net.listen_address import EVERY_ADDRESS, Listen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEFAULT_CONFIG = "relay.toml"
DEFAULT_GAP_WINDOW = 72 * 3600.0

ListenAt = Annotated[Listen, BeforeValidator(forms.listen)]


class Settings(PageSettings):
    """The variables of the relay.

    A field is named like its variable, in lower case. Its docstring is the reference documentation of the variable, and
    the explanation in the error when the variable is missing.
    """

    model_config = ConfigDict(frozen=True)

    redis_url: Annotated[str, AfterValidator(forms.redis_url)] | None = Field(default=None, repr=False)
    """URL of Redis or Valkey, 7.0 or newer: `redis://`, `rediss://`, `unix://`, or behind Sentinel
    `redis+sentinel://host1:26379,host2:26379/mymaster` (`rediss+sentinel://` for TLS; `:password@` is the password of
    Redis, `?sentinel_password=` that of the Sentinels), or a cluster `redis+cluster://host1:6379,host2:6379`. Without
    it, `relay up` starts an embedded Redis in `RELAY_DATA_DIR`, and other commands use that one.
    """
    redis_username: str | None = None
    """User name at Redis, in place of one in `REDIS_URL`."""
    redis_password: SecretStr | None = None
    """Password at Redis, in place of one in `REDIS_URL`; it is not percent-encoded."""
    relay_key_prefix: Annotated[str, AfterValidator(forms.key_prefix)] = "relay"
    """Beginning of the names of all keys in Redis, `<prefix>:...`, on a cluster `{<prefix>}:...`: letters, digits,
    `_`, `-` and `.`. Relays that share a Redis need different ones, and all of one relay, pull teams too, the same.
    """
    relay_shards: Annotated[int, Field(ge=1, le=MAX_SHARDS)] = 1
    """Number of shards, parts of the relay that hold events apart from each other; on a cluster each is on one
    primary. All processes need the same number; `relay shards` changes it while the relay runs.
    """
    relay_public_url: Annotated[str, AfterValidator(forms.public_url)] | None = None
    """Base URL at which Linq reaches the ingress, such as `https://relay.example.com`. It must be https (http is
    allowed for a sandbox on the same machine) and have no query; bootstrap requires it.
    """
    relay_listen: ListenAt = Listen(host=EVERY_ADDRESS, port=8080)
    """Address and port on which the ingress listens, such as `127.0.0.1:8080`."""
    relay_admin_listen: ListenAt | None = None
    """Address and port of the admin listener, which serves `/live`, `/ready` and `/metrics`, and for `relay admin` and
    `relay up` the page and the API; it must not be public. Without it the address is `127.0.0.1`, and the port 8081
    for `relay ingress` and `relay up`, 8082 for `relay worker`, 8083 for `relay admin`.
    """
    relay_config: Path = Path(_DEFAULT_CONFIG)
    """Path of relay.toml, the file with the topics and the subscriptions."""
    relay_data_dir: Path = Path(".relay")
    """Directory of the embedded Redis: its data, its log, and the address at which other commands find it."""
    relay_secret_key: Annotated[SecretStr, AfterValidator(forms.secret_key)] | None = None
    """Key that encrypts Linq's signing secrets in Redis: 32 bytes in urlsafe base64. To make one, run
    `relay secret generate --for relay`.
    """
    relay_secret_key_old: Annotated[SecretStr, AfterValidator(forms.secret_keys)] | None = None
    """Former values of `RELAY_SECRET_KEY`, separated by commas. They still decrypt the secrets that they encrypted,
    until the next `relay bootstrap apply` encrypts these with the new key.
    """
    relay_replicas: Annotated[int, Field(ge=0)] = 0
    """Number of Redis replicas that must have an event before Linq gets its 200; with fewer, the response is 503. `0`
    does not wait for replicas; set `1` with Sentinel.
    """
    relay_dedupe_window: Annotated[float, BeforeValidator(forms.duration), Field(ge=1)] = 6 * 3600.0
    """Time for which an event id is remembered and repeats of it are dropped, such as `6h` or `1d`; at least `1s`.
    Linq's own retries end after about 30 minutes.
    """
    relay_gap_window: Annotated[float, BeforeValidator(forms.duration), Field(ge=0)] = DEFAULT_GAP_WINDOW
    """Time for which the relay remembers of which messages it accepted an event, such as `72h`, in eight bytes each:
    `relay gaps` and `relay backfill` look no further back. `0s` remembers nothing.
    """
    relay_memory_high_water: Annotated[float, Field(ge=0.1, le=1)] = 0.9
    """Part of Redis's `maxmemory` up to which events are accepted, from 0.1 to 1. Above it Linq gets 503 and retries;
    the rest is room for routing and delivery, which free memory.
    """
    relay_max_connections: Annotated[int, Field(ge=16)] = 4096
    """Number of connections that an ingress process keeps open, at least 16; descriptors bound it too. At the limit,
    the connection that has waited longest makes room for the next.
    """
    relay_max_unverified_mib: Annotated[int, Field(ge=2)] = 64
    """Memory for requests that have not wholly arrived, of all connections together, MiB; at least 2. At the limit, the
    slowest sender is disconnected.
    """
    relay_idle_timeout: Annotated[float, BeforeValidator(forms.duration), Field(ge=1)] = 630.0
    """Time for which an ingress keeps an idle connection, such as `75s` or `11m`; at least `1s`. It must be longer than
    the load balancer in front keeps its own: AWS 60 seconds, Google Cloud 600.
    """
    relay_shutdown_delay: Annotated[float, BeforeValidator(forms.seconds), Field(ge=0)] = 0.0
    """Time for which a stopping ingress works as before, with `/ready` at 503, such as `5s` (a number alone is
    seconds): the load balancer notices in it, and sends new webhooks elsewhere.
    """
    relay_api_rate: Annotated[float, Field(gt=0)] = 50.0
    """Requests to the API that a token may send to one process, each second, with a burst of one second's worth. Beyond
    it the answer is 429.
    """
    relay_api_url: str | None = None
    """URL of the admin listener of a relay, such as `http://127.0.0.1:8081`, for commands that use its API
    (`relay listen`; where there is no `REDIS_URL`, `relay event`, `relay events search` and others).
    """
    relay_api_token: SecretStr | None = None
    """Token for those commands: one of `relay token create`."""
    relay_worker_nice: Annotated[int, Field(ge=0, le=19)] = 7
    """Niceness of a worker process and of `relay admin`, from 0 (normal priority) to 19 (lowest), and of its session if
    it has its own: with 7 it gets a fifth of the CPU time of others when that is short. In a container or a unit, its
    weight counts instead.
    """
    relay_revision: str | None = None
    """Revision that `relay --version`, `/ready` and the metrics name, such as a commit; the image sets it. Without it,
    it is that of the build or of the checkout, or `unknown`.
    """
    relay_hide_bodies: bool = False
    """`true` hides the bodies of events, and with them the handles of people, in the API, on the page and in the output
    of commands, also for operators: only their size is shown. Deliveries and pull subscribers are not affected, and
    events can still be searched by handle.
    """
    relay_log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest severity that is logged: `debug`, `info`, `warning` or `error`."""
    relay_log_format: Literal["auto", "json", "console"] = "auto"
    """Format of the logs on standard error: `json`, `console`, or `auto`, which is `console` on a terminal and `json`
    elsewhere.
    """
    linq_api_v3_api_key: Annotated[SecretStr, AfterValidator(forms.header_value)] | None = None
    """API key for Linq's v3 API. Bootstrap requires it to register the lines."""
    linq_api_v3_base_url: Annotated[str, AfterValidator(forms.api_url)] = forms.DEFAULT_LINQ_V3
    """Base URL of Linq's v3 API; change it to use a sandbox."""
    linq_v2_token: Annotated[SecretStr, AfterValidator(forms.header_value)] | None = None
    """Integration token for Linq's v2 API. It is required only if relay.toml has a `[linq.v2]` table."""
    linq_v2_base_url: Annotated[str, AfterValidator(forms.api_url)] = forms.DEFAULT_LINQ_V2
    """Base URL of Linq's v2 API; change it to use a sandbox."""
    linq_v2_webhook_secret: SecretStr | None = None
    """Signing secret of the Linq v2 subscription that points at `/webhooks/linq/v2`; you choose it. Without it, that
    path responds with 503.
    """
    linq_v2_webhook_secret_old: SecretStr | None = None
    """Former value of `LINQ_V2_WEBHOOK_SECRET`, still accepted during a rotation, because Linq's v2 API does not retry
    a refused event.
    """

    @classmethod
    def load(cls, *needs: str, env_file: Path | None = Path(".env"), **needed_with: str) -> Self:
        """Read the settings; warn of unknown `RELAY_*` variables on standard error.

        `needs` are the fields that are required; `needed_with` maps a field to another one, with which it is required.

        Raises:
            SettingsError: variables are wrong or missing; names each of them.
        """
        variables = environment(env_file)
        from_files, problems, warnings = read_files(map(str.upper, cls.secrets()), variables)
        for warning in (*unknown_variables(variables), *warnings):
            sys.stderr.write(f"warning: {warning}\n")  # not logged: the format of the logs is only being read
        variables |= from_files
        needs += tuple(need for need, other in needed_with.items() if other.upper() in variables)
        problems += [cls._not_set(need) for need in needs if not {need.upper(), file_variable(need)} & variables.keys()]
        try:
            values = {name: variables[name.upper()] for name in cls.model_fields if name.upper() in variables}
            settings = cls.model_validate(values)
            settings = cls._with_credentials(settings)
        except ValidationError as error:
            for detail in error.errors():
                name = str(detail["loc"][0])
                place = file_variable(name) if name.upper() in from_files else name.upper()
                problems.append(Problem(place, message_of(detail)))
        except SettingsError as error:
            problems += error.problems
        if problems:
            raise SettingsError("The environment is not complete:", tuple(problems))
        return settings

    @classmethod
    def secrets(cls) -> list[str]:
        """Return the fields that a file may give: secrets, and the URL of Redis, which can have one."""
        secret = [name for name, field in cls.model_fields.items() if SecretStr in classes_in(field.annotation)]
        return ["redis_url", *secret]

    def _with_credentials(self) -> Self:
        """Return the settings with REDIS_USERNAME and REDIS_PASSWORD in the URL of Redis.

        Raises:
            SettingsError: there is no URL, or it has credentials of its own.
        """
        password = self.redis_password.get_secret_value() if self.redis_password else None
        if not self.redis_username and not password:
            return self
        name = "REDIS_PASSWORD" if password else "REDIS_USERNAME"
        if self.redis_url is None:
            raise SettingsError("", (Problem(name, "set, but REDIS_URL is not; set it, or unset this one"),))
        if has_credentials(self.redis_url):
            why = f"it has a user name or a password, and {name} is set as well; remove one of them"
            raise SettingsError("", (Problem("REDIS_URL", why),))
        url = with_credentials(self.redis_url, self.redis_username, password)
        return self.model_copy(update={"redis_url": url})

    def require(self, *needs: str, because: str) -> None:
        """Check that the fields in `needs` are set; `because` is the reason in the error.

        Raises:
            SettingsError: variables are missing; names each of them.
        """
        problems = tuple(self._not_set(need) for need in needs if getattr(self, need) is None)
        if problems:
            raise SettingsError(f"The environment is not complete ({because}):", problems)

    @classmethod
    def _not_set(cls, need: str) -> Problem:
        return Problem(need.upper(), f"not set: {' '.join(attribute_docstrings(cls)[need].split())}")

    def shown(self) -> dict[str, str]:
        """Return every variable for the log: secrets masked, durations readable."""
        shown = {name.upper(): forms.shown(value) for name, value in self if value not in {None, ()}}
        if "REDIS_URL" in shown:
            shown["REDIS_URL"] = masked_redis_url(shown["REDIS_URL"])
        shown["RELAY_DEDUPE_WINDOW"] = format_duration(self.relay_dedupe_window)
        shown["RELAY_GAP_WINDOW"] = format_duration(self.relay_gap_window)
        shown["RELAY_IDLE_TIMEOUT"] = format_duration(self.relay_idle_timeout)
        shown["RELAY_SHUTDOWN_DELAY"] = format_duration(self.relay_shutdown_delay)
        return shown


def classes_in(annotation: Any) -> Iterator[Any]:
    """Yield the type of a field, and each of its parts."""
    yield annotation
    for argument in get_args(annotation):
        yield from classes_in(argument)


def environment(env_file: Path | None = Path(".env")) -> dict[str, str]:
    """Return the variables that are set and not empty, including those of `env_file`, by name in upper case."""
    from_file = read_dotenv(env_file) if env_file else {}
    return {name.upper(): value for source in (from_file, os.environ) for name, value in source.items() if value}


def environment_with_secrets() -> dict[str, str]:
    """Return `environment()` with the secrets that are in files; what cannot be read, `Settings.load` reports."""
    variables = environment()
    values, _, _ = read_files(map(str.upper, Settings.secrets()), variables)
    return variables | values


def unknown_variables(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each `RELAY_*` variable that is neither known nor referred to in relay.toml."""
    known = [*map(str.upper, Settings.model_fields), *map(file_variable, Settings.secrets())]
    unknown = sorted(name for name in variables if name.startswith("RELAY_") and name not in known)
    unknown = [name for name in unknown if not name.startswith("RELAY_TEST_")]
    rules = ""
    if unknown:
        with suppress(OSError, ValueError):  # commands that need the file report what is wrong with it
            rules = Path(variables.get("RELAY_CONFIG", _DEFAULT_CONFIG)).read_text(encoding="utf-8").upper()
    for name in unknown:
        if f'"ENV:{name}"' not in rules:
            nearest = get_close_matches(name, known, n=1, cutoff=0.8)
            yield f"{name} is not a variable of the relay{f'; did you mean {nearest[0]}?' if nearest else ''}"


def masked_redis_url(url: str) -> str:
    """Return a valid REDIS_URL with its password masked, before the host and in the query."""
    url = re.sub(r"([?&](?:sentinel_)?password=)[^&]*", r"\1***", url)
    return re.sub(r"(://[^/?#]*?:)[^/?#]*@", r"\1***@", url)
