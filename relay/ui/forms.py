"""The form that a request brings, as browsers send it by default: `application/x-www-form-urlencoded`.

A form in another encoding counts as empty, so that it has no token of a browser either. aiohttp would write the files
of a multipart one to the disk, and raise what is no HTTP error if a text is not of its character set.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from aiohttp import web

_ENCODED = "application/x-www-form-urlencoded"
_MAX_BYTES = 256 * 1024
_MAX_FIELDS = 2000  # parsing 500,000 takes a third of a second, in which nothing else is answered


async def read_form(request: web.Request) -> dict[str, tuple[str, ...]]:
    """Return the values of each field of the form of a request.

    Raises:
        web.HTTPException: it is too large, or not UTF-8.
    """
    if (request.content_length or 0) > _MAX_BYTES or len(body := await request.read()) > _MAX_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=_MAX_BYTES)
    if request.content_type != _ENCODED:
        return {}
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise web.HTTPBadRequest(reason="The form is not UTF-8") from None
    except ValueError:
        raise web.HTTPRequestEntityTooLarge(max_size=_MAX_FIELDS) from None
    form: dict[str, list[str]] = {}
    for name, value in fields:
        form.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in form.items()}
