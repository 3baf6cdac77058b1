"""Variables from files: `NAME_FILE` is the path of a file with the value of `NAME`, as platforms mount secrets.

The value is the content of the file without its final newline. It exists for secrets and for REDIS_URL. A variable and
its file are never both taken: an old value that was left behind would win or lose silently.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from relay.core.errors import Problem
from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import dotenv
else:
    dotenv = LazyModule("dotenv")  # a container has no such file


def file_variable(name: str) -> str:
    """Return the variable with the path of the file for the variable `name`."""
    return f"{name.upper()}_FILE"


def read_files(names: Iterable[str], variables: Mapping[str, str]) -> tuple[dict[str, str], list[Problem], list[str]]:
    """Return the values of `names` whose files `variables` gives, and the problems and the warnings about them."""
    values: dict[str, str] = {}
    problems: list[Problem] = []
    warnings: list[str] = []
    for name in names:
        variable = file_variable(name)
        if variable not in variables:
            continue
        if name in variables:
            problems.append(Problem(name, f"{name} and {variable} are both set; unset one of them"))
            continue
        path = Path(variables[variable])
        try:
            values[name] = _read(path)
            if path.stat().st_mode & stat.S_IWOTH:
                warnings.append(f"{variable}: every user of this machine can replace {path}; run: chmod o-w {path}")
        except ValueError as error:
            problems.append(Problem(variable, f"{path} {error}"))
        except OSError as error:
            problems.append(Problem(variable, f"{path} cannot be read: {error.strerror or type(error).__name__}"))
    return values, problems, warnings


def read_dotenv(path: Path) -> dict[str, str | None]:
    """Return the variables in a file such as `.env`, which need not exist."""
    return dict(dotenv.dotenv_values(path)) if path.is_file() else {}


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    value = text.removesuffix("\n")
    if not value:
        raise ValueError("is empty")
    return value
