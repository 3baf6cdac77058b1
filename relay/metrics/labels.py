"""The labels of the metrics, and what bounds their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LABELS: Mapping[str, str] = {
    "account": "name of an account of `[[linq.accounts]]`; the account without a name has no such label",
    "api": "`v3` or `v2`, Linq's API; of drift also `v3/NAME`, an account of `[[linq.accounts]]`",
    "change": "`new_type`, `new_version`, or a fact that is not there any more, such as `lost_chat`",
    "code": "the short name of the reason, as in the body of the response and in `relay ledger`",
    "end": "`done` or `failed`",
    "event_type": "event type of Linq, only of those with such a change; at most 300 with their versions",
    "group": "consumer group of a pull subscriber: one value for each that the teams have created",
    "kind": "kind of difference: `missing`, `changed`, `inactive`, `extra`, `rival`, `silent`, `malformed`, `foreign`",
    "level": "`warning` or `error`",
    "line": "phone number of a line of the company (E.164), or `v2`, or `account` or `NAME/account` for no line",
    "outcome": "outcome of an attempt, as in [deliveries.md](deliveries.md): `delivered`, `throttled`, `failed`, "
    "`timed_out`, `unreachable`, `rejected`, `gone`, `redirected`",
    "payload_version": "`2026-02-03`, `2025-01-01`, `v2`, or a version that is new",
    "revision": "revision that the release was built from",
    "role": "`ingress`, `worker` or `admin`",
    "run": "`gaps` for `relay gaps`, or `backfill` for one by command or by a worker",
    "status": "HTTP status of the response; `none` if the sender disconnected before it",
    "subscription": "name of a push subscription: those of relay.toml, and removed ones until they are dropped",
    "topic": "name of a topic: those of relay.toml, and removed ones until they are dropped",
    "version": "release",
}
"""The values of each label, which are bounded by the configuration and never by events."""
