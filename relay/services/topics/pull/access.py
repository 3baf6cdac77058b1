"""The groups and topics from which a principal may pull."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Invalid, NotFound, Problem
from relay.services.access import check_topic, sees_pull_group
from relay.store import keys
from relay.store.topics.pull.whole_group import WholeGroup

if TYPE_CHECKING:
    from relay.core.access.principal import Principal
    from relay.services.context import Context

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,99}")
_RESERVED = (keys.PUSH_GROUP_PREFIX, "relay:")


async def open_group(context: Context, principal: Principal, topic: str, group: str) -> WholeGroup:
    """Return a pull group of a topic, which need not exist yet.

    Raises:
        Forbidden: the principal may not pull.
        NotFound: there is no such topic, or no such group, for the principal.
        Invalid: no group can have that name.
    """
    principal.require(Scope.SUBSCRIBE)
    await check_topic(context, principal, topic)
    if not sees_pull_group(principal, group):
        raise NotFound(
            f'no group "{group}" of team "{principal.team}"; its groups are named "{principal.team}" or '
            f'"{principal.team}." and anything, such as "{principal.team}.worker"'
        )
    check_name("group", group)
    return WholeGroup(context.redis, topic, group)


def check_name(field: str, name: str) -> None:
    """Check the name of a group or a member.

    Raises:
        Invalid: it cannot be one.
    """
    if reserved := next((prefix for prefix in _RESERVED if name.startswith(prefix)), None):
        raise Invalid(Problem(field, f'names that begin with "{reserved}" are the relay\'s own'))
    if not _NAME.fullmatch(name):
        raise Invalid(Problem(field, "use 1 to 100 letters, digits and . _ : @ + -, and begin with a letter or digit"))
