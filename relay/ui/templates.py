"""Templates: those of a package, and those of `relay.ui` under `ui/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp_jinja2
import jinja2

if TYPE_CHECKING:
    from aiohttp import web

    from relay.ui.assets import Assets


def set_up_templates(app: web.Application, package: str, assets: Assets) -> jinja2.Environment:
    """Let an application render the templates of `package`; a variable without a value is an error.

    A template extends `ui/page.html`, imports `ui/parts.html`, and has `asset` for the path of a static file.
    """
    ui = jinja2.PrefixLoader({"ui": jinja2.PackageLoader("relay.ui")})
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), ui]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = assets.url
    return environment
