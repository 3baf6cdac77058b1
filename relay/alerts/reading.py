"""The facts that conditions look at: the state in Redis as the metrics show it, certificates, and the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.alerts import certificates, history
from relay.alerts.samples import Facts, Sample
from relay.core.errors import RelayError
from relay.metrics import declared
from relay.store.isolation import is_wrong_type
from relay.store.state.reading import read_state
from relay.store.state.server import whole_server_samples

if TYPE_CHECKING:
    from relay.config.file import Loaded
    from relay.store.driver.client import Redis
    from relay.store.state.kept import KeptState
    from relay.store.state.sample import Sample as Measured


class IncompleteReading(RelayError):
    """Something of the state could not be read."""

    code = "incomplete_reading"


async def read_facts(redis: Redis, loaded: Loaded, now: float, kept: KeptState) -> Facts:
    """Read the state of the relay; `now` is Unix seconds, `kept` is of the same Redis.

    Raises:
        IncompleteReading: a part of it cannot be read.
    """
    try:
        measured = await whole_server_samples(redis)
        async for part in read_state(redis, loaded.config, kept=kept):
            measured += part
    except ResponseError as error:
        if is_wrong_type(error):
            raise IncompleteReading(f"a key was overwritten: relay doctor says which ({error})") from error
        raise
    expiry = declared.SUBSCRIBER_CERTIFICATE_EXPIRY.name
    ends = await certificates.ends(redis, loaded, now)
    samples = [*map(_named, measured), *(Sample(expiry, {"subscription": name}, end) for name, end in ends.items())]
    counts = await history.count(redis)
    earlier, oldest = await history.earlier(redis, now)
    return Facts(now, loaded.config, samples, counts, earlier, oldest)


def _named(measured: Measured) -> Sample:
    metric = measured.metric
    labels = dict(zip(metric.labels, measured.labels, strict=False))  # a series may lack the last ones
    return Sample(metric.name, labels, float(measured.value))
