"""The ingress: accept fast, work later.

    read the body (at most 1 MiB), in one of two ways (`web.fast`, `web.aiohttp_app`)
    verify it with the secrets of the URL's line (`linq.signatures`, pure); re-read the keyring once if none matches,
        unless its sender is over its budget of failures (`net.failure_limit`)
    one shared round trip to Redis: seen before? append, wake the router (`store.inbox.acceptor`): now it is durable
    respond 200 with an empty body

Every failure of ours is a 503, so that Linq retries. A body that Linq signed but that cannot be parsed is quarantined
and gets 200, since a retry would not help. A request with a wrong signature beyond its sender's budget gets 429, which
Linq retries too: the keyring was not read for it, so its signature may be right. Whatever is refused is logged and
counted by cause (`store.inbox.refusals`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import structlog

from relay.core.errors import BadSignature, RejectedWebhook, SecretUnknown, TooManyFailures, Unparsable
from relay.core.event import Dialect, owner_of, source_name
from relay.linq.signatures.v3_legacy import SUBSCRIPTION_ID
from relay.linq.signatures.verify import check_v2_headers, check_v3_headers, verify_v2, verify_v3
from relay.linq.target_urls import V2_PATH, V3_PATH, target_of_query
from relay.process.telemetry.context import trace_id_of
from relay.store.inbox import quarantine
from relay.web import responses
from relay.web.accept_spans import AcceptSpans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.event import VerifiedWebhook
    from relay.core.line_secret import LineSecret
    from relay.ingress_parts import IngressParts
    from relay.linq.signatures.headers import Headers
    from relay.linq.target_urls import Target
    from relay.web.responses import Response

DIALECTS: Mapping[str, Dialect] = {V3_PATH: Dialect.V3, V2_PATH: Dialect.V2}
"""The paths that Linq posts to, and the dialect of each."""

_NO_TARGET = target_of_query("")
_PREFIX = V3_PATH + "/"
_WRONG_PATH = (
    "unknown_path",
    "no webhook is received at this path: correct the URL of the subscription at Linq (relay bootstrap plan)",
)
_NO_WEBHOOK: Mapping[int, tuple[str, str]] = {
    HTTPStatus.NOT_FOUND: ("not_found", "nothing is served at this path"),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "webhooks are received with POST only"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too_large", f"the body is over {responses.MAX_BODY} bytes"),
    HTTPStatus.EXPECTATION_FAILED: ("expectation_failed", "the only expectation that is met is 100-continue"),
}
"""Code and reason by status of a request that is refused before it is taken for a webhook."""

_MALFORMED = "the request is not valid HTTP, or a line of its head is over 8190 bytes"

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
        self._spans = None if parts.tracer is None else AcceptSpans(parts.tracer)
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
        parts, began = self._parts, self._parts.clock()
        verified = None
        try:
            verified = await self._verify_with_any(webhook)
            parts.check()
            is_new = await parts.acceptor.accept(verified)
        except Unparsable as error:
            return await self._quarantine(webhook, error)
        except RejectedWebhook as error:
            webhook.body = b""  # a refusal may be delayed, and must not hold memory
            response = self._reject(webhook, error)
            if self._spans is not None and verified is not None:
                ended, status = parts.clock(), response.status
                self._spans.refused(verified, webhook.headers, began, ended, status=status, code=error.code)
            return response
        except Exception:
            log.exception("event.error", dialect=webhook.dialect, line=webhook.target.line)
            return self.fail()
        parts.metrics.accepted(webhook.dialect, parts.clock() - began, is_new=is_new)
        parts.last_seen.record(verified, began)
        if self._spans is not None:
            self._spans.accepted(verified, webhook.headers, began, parts.clock(), is_new=is_new)
        if self._logs_accepted:
            self._log_accepted(verified, began, is_new=is_new)
        return responses.ACCEPTED

    async def _verify_with_any(self, webhook: Webhook) -> VerifiedWebhook:
        """Verify with the loaded secrets; if none matches, re-read the keyring and verify once more.

        Raises:
            TooManyFailures: it was not verified, and its sender is over its budget.
        """
        parts, keys, target = self._parts, self._parts.keys, webhook.target
        secrets = self._secrets_for(webhook)
        try:
            return self._verify_with(webhook, secrets)
        except RejectedWebhook as error:
            if webhook.dialect is Dialect.V2 or not error.another_secret_could_help:
                self._take_failure(webhook, error)
                raise
            if keys.is_read and not parts.failures.has_room(webhook.remote):
                raise TooManyFailures(str(error)) from error
            first = error
        was_read = keys.is_read
        await keys.renew()
        try:
            if (renewed := self._secrets_for(webhook)) == secrets:
                raise first
            return self._verify_with(webhook, renewed)
        except RejectedWebhook as error:
            if was_read:
                self._take_failure(webhook, error)
            is_known = target.generation is None or keys.has(target.place, target.generation)
            if is_known or not isinstance(error, BadSignature):
                raise
            owner = owner_of(Dialect.V3, target.line, target.account)
            raise SecretUnknown(f"no secret is stored for generation {target.generation} of {owner}") from None
        finally:
            del first  # its traceback has this frame: a cycle that would hold the body until it is collected

    def _take_failure(self, webhook: Webhook, error: RejectedWebhook) -> None:
        """Take a webhook that cannot be verified from the budget of its sender.

        Raises:
            TooManyFailures: it is used up.
        """
        if self._parts.keys.is_read and not self._parts.failures.take(webhook.remote):
            raise TooManyFailures(str(error)) from error

    def _secrets_for(self, webhook: Webhook) -> tuple[LineSecret, ...]:
        keys, target = self._parts.keys, webhook.target
        return keys.fixed if webhook.dialect is Dialect.V2 else keys.secrets_for(target.place, target.generation)

    def _verify_with(self, webhook: Webhook, secrets: tuple[LineSecret, ...]) -> VerifiedWebhook:
        if webhook.dialect is Dialect.V2:
            if not secrets:
                raise SecretUnknown("LINQ_V2_WEBHOOK_SECRET is not set")
            return verify_v2(webhook.headers, webhook.body, secrets, webhook.remote)
        if not secrets:
            raise self._unknown(webhook.target)
        return verify_v3(webhook.headers, webhook.body, secrets, self._parts.clock(), webhook.remote)

    @staticmethod
    def _unknown(target: Target) -> SecretUnknown:
        if target.named and target.line is None:
            return SecretUnknown("the line in the URL is not a phone number")
        account = "" if target.account is None else f" of account {target.account!r:.80}"
        message = f"no secret is stored for {target.line or 'URLs without a line'}{account}; run: relay bootstrap apply"
        return SecretUnknown(message, another_secret_could_help=True)

    async def _quarantine(self, webhook: Webhook, error: Unparsable) -> Response:
        parts, line, account = self._parts, webhook.target.line, webhook.target.account
        source = source_name(webhook.dialect, account)
        try:
            await parts.quarantine.put(source, line, webhook.body, str(error), round(parts.clock() * 1000))
        except RejectedWebhook as rejection:
            return self._reject(webhook, rejection)
        parts.metrics.quarantined(webhook.dialect)
        log.error(
            "event.quarantined",
            reason=str(error),
            dialect=webhook.dialect,
            account=account,
            line=line,
            bytes=len(webhook.body),
            note=quarantine.NOTE,
        )
        return responses.ACCEPTED

    def _log_accepted(self, verified: VerifiedWebhook, began: float, *, is_new: bool) -> None:
        log.info(
            "event.accepted",
            id=verified.id,
            type=verified.type,
            trace_id=trace_id_of(verified.trace, verified.id),
            line=verified.line,
            account=verified.account,
            dialect=verified.dialect,
            repeat=not is_new,
            bytes=len(verified.body),
            ms=round((self._parts.clock() - began) * 1000, 2),
        )

    def fail(self) -> Response:
        """Return the response after a bug of ours, and count it."""
        return self._counted(responses.internal_error(), "internal")

    def _counted(self, response: Response, code: str) -> Response:
        self._parts.metrics.refused(response.status, code)
        return response

    def refuse_too_large(self, webhook: Webhook) -> Response:
        """Refuse a body over the limit, which is not read and so not verified."""
        self._parts.refusals.record(
            "too_large",
            reason=f"the body is over {responses.MAX_BODY} bytes; Linq does not send it again",
            final=True,
            dialect=webhook.dialect,
            line=webhook.target.line,
            remote=webhook.remote,
            subscription=next(iter(webhook.headers.getall(SUBSCRIPTION_ID, ())), None),
        )
        return self._counted(responses.too_large(), "too_large")

    def refuse_request(self, status: int, method: str, path: str, remote: str | None) -> float:
        """Record a request that is no webhook; return the seconds to wait before its response."""
        code, reason = _NO_WEBHOOK.get(status, (f"http_{status}", "the request cannot be handled"))
        if status == HTTPStatus.NOT_FOUND and path.startswith(_PREFIX):
            code, reason = _WRONG_PATH
        return self._refuse_http(status, code, reason, remote, method=method, path=path)

    def refuse_malformed(self, remote: str | None, fault: str) -> None:
        """Record a request that is not valid HTTP, or over aiohttp's limits; `fault` is the name of aiohttp's error."""
        self._refuse_http(HTTPStatus.BAD_REQUEST, "malformed", _MALFORMED, remote, cause=fault, fault=fault)

    def _refuse_http(
        self, status: int, code: str, reason: str, remote: str | None, cause: str = "", **example: str
    ) -> float:
        self._parts.metrics.refused(int(status), code)
        is_limited = not self._parts.failures.take(remote)
        self._parts.refusals.record(
            code, cause=cause, reason=reason, final=True, remote=remote, limited=is_limited, **example
        )
        return self._parts.failures.delay() if is_limited else 0.0

    def interrupted(self, reason: str, webhook: Webhook) -> None:
        """Record a sender that disconnected in the middle of a body."""
        self._parts.metrics.refused(None, "cut_off")
        self._parts.refusals.record(
            "cut_off",
            event="event.cut_off",
            reason=reason,
            dialect=webhook.dialect,
            line=webhook.target.line,
            remote=webhook.remote,
        )

    def _reject(self, webhook: Webhook, error: RejectedWebhook) -> Response:
        """Record a webhook that is not accepted, and return the response to it."""
        limited = isinstance(error, TooManyFailures)
        cause = error.__cause__ if limited else error
        assert isinstance(cause, RejectedWebhook)  # noqa: S101  TooManyFailures has one
        self._parts.refusals.record(
            cause.code,
            cause=str(cause) if isinstance(cause, BadSignature) else "",  # its messages are a fixed set
            reason=str(cause),
            final=webhook.dialect is Dialect.V2 or responses.is_final(error),
            dialect=webhook.dialect,
            line=webhook.target.line,
            remote=webhook.remote,
            limited=limited,
        )
        # A secret that is not stored is a fault of ours, also of a sender over its budget: 503.
        shown = cause if isinstance(cause, SecretUnknown) else error
        return self._counted(responses.rejected(shown, self._parts.failures.delay() if limited else 0.0), cause.code)
