"""The ingress: accept fast, work later.

    read the body (at most 1 MiB), in one of two ways (`web.fast_path`, `web.aiohttp_app`)
    verify it with the secrets of the URL's line (`linq.signatures`, pure); re-read the keyring once if none matches
    one shared round trip to Redis: seen before? append, wake the router (`store.inbox.acceptor`): now it is durable
    respond 200 with an empty body

Every failure of ours is a 503, so that Linq retries. A body that Linq signed but that cannot be parsed is quarantined
and gets 200, since a retry would not help.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog

from relay.core.errors import BadSignature, RejectedWebhook, SecretUnknown, Unparsable
from relay.core.event import Dialect
from relay.linq.signatures.verify import check_v2_headers, check_v3_headers, verify_v2, verify_v3
from relay.linq.target_urls import V2_PATH, V3_PATH, target_of_query
from relay.web import responses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.event import VerifiedWebhook
    from relay.linq.signatures.headers import Headers
    from relay.linq.target_urls import Target
    from relay.parts import IngressParts
    from relay.web.responses import Response

DIALECTS: Mapping[str, Dialect] = {V3_PATH: Dialect.V3, V2_PATH: Dialect.V2}
"""The paths that Linq posts to, and the dialect of each."""

_NO_TARGET = target_of_query("")

log = structlog.get_logger()


@dataclass(slots=True)
class Webhook:
    """A POST to one of our paths."""

    dialect: Dialect
    target: Target
    """The line and generation in the URL: `/webhooks/linq?version=2026-02-03&line=16465550123`; v2's has neither."""
    headers: Headers
    remote: str | None
    """IP address of the sender."""
    body: bytes = b""
    """The bytes as sent; empty until they have been read."""

    @classmethod
    def at(cls, dialect: Dialect, query: str, headers: Headers, remote: str | None, body: bytes = b"") -> Self:
        """Return the webhook of `dialect` at a URL with this query; unknown parameters are ignored."""
        target = target_of_query(query) if dialect is Dialect.V3 else _NO_TARGET
        return cls(dialect, target, headers, remote, body)


class Ingress:
    """The ingress: verifies webhooks and makes them durable."""

    def __init__(self, parts: IngressParts) -> None:
        self._parts = parts
        self._logs_accepted = log.is_enabled_for(logging.INFO)  # read once: the level does not change

    def refuse_early(self, webhook: Webhook) -> Response | None:
        """Return the refusal of a webhook whose headers no body can make valid; None for any other."""
        check = check_v2_headers if webhook.dialect is Dialect.V2 else check_v3_headers
        try:
            check(webhook.headers, self._parts.clock())
        except BadSignature as error:
            return self._reject(webhook, error)
        return None

    async def receive(self, webhook: Webhook) -> Response:
        """Accept, quarantine or reject a webhook; return the response."""
        parts = self._parts
        began = parts.clock()
        try:
            verified = await self._verify_with_any(webhook)
            parts.memory.check()
            is_new = await parts.acceptor.accept(verified)
        except Unparsable as error:
            return await self._quarantine(webhook, error)
        except RejectedWebhook as error:
            return self._reject(webhook, error)
        except Exception:
            log.exception("event.error", dialect=webhook.dialect, line=webhook.target.line)
            return responses.internal_error()
        parts.last_seen.record(verified, began)
        if self._logs_accepted:
            self._log_accepted(verified, began, is_new=is_new)
        return responses.ACCEPTED

    async def _verify_with_any(self, webhook: Webhook) -> VerifiedWebhook:
        """Verify with the loaded secrets; if none matches, re-read the keyring and verify once more."""
        keys, target = self._parts.keys, webhook.target
        try:
            return self._verify_with(webhook)
        except RejectedWebhook as error:
            if webhook.dialect is Dialect.V2 or not error.another_secret_could_help:
                raise
        await keys.renew()
        try:
            return self._verify_with(webhook)
        except BadSignature:
            if target.generation is None or keys.has(target.line, target.generation):
                raise
            raise SecretUnknown(f"no secret is stored for generation {target.generation} of {target.line}") from None

    def _verify_with(self, webhook: Webhook) -> VerifiedWebhook:
        """Verify with the loaded secrets."""
        if webhook.dialect is Dialect.V2:
            return self._verify_v2(webhook)
        keys, target = self._parts.keys, webhook.target
        if not (secrets := keys.secrets_for(target.line, target.generation)):
            raise self._unknown(target)
        return verify_v3(webhook.headers, webhook.body, secrets, self._parts.clock())

    def _verify_v2(self, webhook: Webhook) -> VerifiedWebhook:
        if not (secrets := self._parts.keys.fixed):
            raise SecretUnknown("LINQ_V2_WEBHOOK_SECRET is not set")
        return verify_v2(webhook.headers, webhook.body, secrets)

    @staticmethod
    def _unknown(target: Target) -> SecretUnknown:
        if target.named and target.line is None:
            return SecretUnknown("the line in the URL is not a phone number")
        owner = target.line or "URLs without a line"
        message = f"no secret is stored for {owner}; run: relay bootstrap apply"
        return SecretUnknown(message, another_secret_could_help=True)

    async def _quarantine(self, webhook: Webhook, error: Unparsable) -> Response:
        parts, line = self._parts, webhook.target.line
        try:
            await parts.quarantine.put(webhook.dialect, line, webhook.body, str(error), round(parts.clock() * 1000))
        except RejectedWebhook as rejection:
            return responses.rejected(rejection)
        log.error("event.quarantined", reason=str(error), dialect=webhook.dialect, line=line, bytes=len(webhook.body))
        return responses.ACCEPTED

    def _log_accepted(self, verified: VerifiedWebhook, began: float, *, is_new: bool) -> None:
        log.info(
            "event.accepted",
            id=verified.id,
            type=verified.type,
            line=verified.line,
            dialect=verified.dialect,
            repeat=not is_new,
            bytes=len(verified.body),
            ms=round((self._parts.clock() - began) * 1000, 2),
        )

    @staticmethod
    def _reject(webhook: Webhook, error: RejectedWebhook) -> Response:
        log.warning(
            "event.refused",
            code=error.code,
            reason=str(error),
            dialect=webhook.dialect,
            line=webhook.target.line,
            remote=webhook.remote,
        )
        return responses.rejected(error)


def log_interrupted(reason: str, webhook: Webhook) -> None:
    """Log a sender that disconnected in the middle of a body."""
    log.warning(
        "event.cut_off", reason=reason, dialect=webhook.dialect, line=webhook.target.line, remote=webhook.remote
    )
