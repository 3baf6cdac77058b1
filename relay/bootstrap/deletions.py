"""The deletions of a plan that may be carried out, by what the looks at Linq agree on and the operator allows. Pure.

A list of Linq's can come back short, so a single look is no proof that a line is gone. A scheduled check deletes what
`LOOKS` consecutive looks agree on, and leaves it to the operator if the list has shrunk by more than `DOUBTED`. The
`apply` of an operator deletes at once what relay.toml excludes and what a successor has replaced; for lines that Linq
only no longer lists, it too needs the looks, or `--allow-delete`. That Linq has said so in an event counts as the
looks, once one of them has confirmed it (`Looks.agree`). The end of a rotation needs neither: it was set when the
rotation began.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from relay.bootstrap.plan import Action

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.bootstrap.plan import Step

LOOKS = 3
"""Consecutive looks that must agree on a deletion."""

DOUBTED = 0.25
"""Share of the registered lines that may leave Linq's list at once; a single line always may."""

_ALLOW = "if that is right, run relay bootstrap apply --allow-delete"


class Approval(Enum):
    """The deletions that an operator allows a run to make."""

    SCHEDULED = auto()
    """Unattended."""
    TOLD = auto()
    """Unattended, after an event of Linq's. Its looks do not count, so that events cannot make looks agree."""
    COMMAND = auto()
    """An operator, or a change of relay.toml, has started the run."""
    DELETIONS = auto()
    """The operator has seen the deletions and wants them."""


def needs_looks(step: Step) -> bool:
    """Return True if a step is a deletion on which several looks may have to agree."""
    return step.action is Action.DELETE and not step.ends_rotation


def hold_all(steps: Sequence[Step]) -> list[Step]:
    """Return `steps` with `HOLD` in place of every change, for a plan that no run carries out without `--take-over`."""
    why = "not done: subscriptions here may be another relay's"
    return [
        step if step.action is Action.KEEP else replace(step, action=Action.HOLD, reason=f"{step.reason}, {why}")
        for step in steps
    ]


def hold_back(steps: Sequence[Step], seen: Mapping[str, int], approval: Approval) -> list[Step]:
    """Return `steps` with `HOLD` in place of each deletion that must wait, and the cause in its reason.

    `seen` is the number of consecutive looks that found each subscription to be deleted, by Linq's id.
    """
    registered = {step.line for step in steps if step.subscription_id is not None and step.line}
    gone = {step.line for step in steps if step.is_unlisted and step.line}
    doubt = ""
    if len(gone) > max(1, DOUBTED * len(registered)):
        doubt = f"{len(gone)} of {len(registered)} lines are gone from Linq's list at once; {_ALLOW}"

    def decided(step: Step) -> Step:
        if approval is Approval.DELETIONS or not needs_looks(step):
            return step
        if approval is Approval.COMMAND and not step.is_unlisted:
            return step
        looks = seen.get(str(step.subscription_id), 0)
        if step.is_unlisted and doubt:
            why = doubt
        elif looks < LOOKS:
            why = f"{looks} of {LOOKS} looks agree" + (f"; {_ALLOW}" if step.is_unlisted else "")
        else:
            return step
        return replace(step, action=Action.HOLD, reason=f"{step.reason}, not deleted yet: {why}")

    return [decided(step) for step in steps]
