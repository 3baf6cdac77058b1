"""Jump consistent hash (J. Lamping, E. Veach: "A Fast, Minimal Memory, Consistent Hash Algorithm", arXiv:1406.2294).

It spreads keys evenly over buckets without a table. When buckets are added, a key stays where it is or goes to one of
the new ones: from n to m buckets, (m - n) / m of the keys move. Buckets are added and removed at the end only.
"""

from __future__ import annotations

_MULTIPLIER = 2862933555777941757  # of the linear congruential generator in the paper
_MASK = 2**64 - 1


def jump_hash(key: int, buckets: int) -> int:
    """Return the bucket, from 0, of a key of 64 bits."""
    bucket, following = 0, 0
    while following < buckets:
        bucket = following
        key = (key * _MULTIPLIER + 1) & _MASK
        following = int((bucket + 1) * (2**31 / ((key >> 33) + 1)))
    return bucket
