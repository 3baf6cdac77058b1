"""`relay alerts`: what is firing, and a test webhook."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from relay.alerts import state
from relay.alerts.message import message_of_test
from relay.alerts.post import PostError, post
from relay.cli.command import command, commands, with_options
from relay.cli.operator import operator
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.file import load_config, read_config
from relay.config.load import load_settings
from relay.config.settings import Settings
from relay.core.errors import RelayError
from relay.parts import open_store
from relay.process.event_loop import run

if TYPE_CHECKING:
    from relay.alerts.lifecycle import Alert
    from relay.alerts.state import Sending

app = commands(
    "Show the alerts of the relay itself that are firing; send a test.",
    examples=("relay alerts", "relay alerts --json", "relay alerts test"),
)

_NO_TABLE = (
    'there is no [alerts] in {path}; add it, with the url of a webhook: url = "https://hooks.example.com/alerts"'
)


def alerts(context: typer.Context, *, view: View) -> None:
    """Show the alerts that are firing, longest first; exit code 1 if there are any.

    Workers look for problems twice a minute if relay.toml has [alerts].
    """
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    is_on = read_config(settings.relay_config).alerts is not None
    found, sending, waiting = run(_read(settings))
    firing = sorted((alert for alert in found if alert.is_firing), key=lambda alert: alert.since_ms)
    if view.json:
        unsent = {"webhooks": waiting, "error": sending.error or None}
        rows = [asdict(alert) for alert in firing]
        print_json({"is_on": is_on, "firing": rows, "pending": len(found) - len(firing), "unsent": unsent})
    else:
        print_table(
            f"Alerts that are firing: {len(firing)}",
            ("alert", "severity", "since", "what"),
            [(alert.condition, alert.severity, view.time(alert.since_ms), alert.text) for alert in firing],
            view,
        )
        for line in _remarks(len(found) - len(firing), sending, waiting):
            say(line, fg="yellow")
        if not is_on:
            say(f"{_NO_TABLE.format(path=settings.relay_config)}.", fg="yellow")
    if firing:
        raise typer.Exit(1)


def _remarks(pending: int, sending: Sending, waiting: int) -> list[str]:
    remarks = []
    if pending:
        remarks.append(f"{counted(pending, 'further problem')} must last longer before an alert begins.")
    if waiting:
        error = f"; the last try failed: {sending.error}" if sending.error else ""
        remarks.append(f"{counted(waiting, 'webhook')} not sent yet{error}")
    return remarks


app.callback(invoke_without_command=True, no_args_is_help=False)(with_options(alerts))


@command(app, examples=("relay alerts test", "relay alerts test --json"), view=("json",))
def test(*, view: View) -> None:
    """Send a test webhook to the url of [alerts], from this machine; exit code 1 if it is not accepted."""
    path = Settings.load().relay_config
    loaded = load_config(path)
    if loaded.alerts is None:
        raise RelayError(_NO_TABLE.format(path=path))
    url, endpoint = loaded.alerts
    webhook_id, now = f"alert_test_{secrets.token_hex(8)}", time.time()
    body = message_of_test(round(now * 1000), operator())
    answer: dict[str, Any] = {"sent": True, "id": webhook_id, "signed": bool(endpoint.secrets)}
    try:
        run(post(url, endpoint, webhook_id, body, now))
    except PostError as error:
        if not view.json:
            raise
        print_json({**answer, "sent": False, "error": str(error)})
        raise typer.Exit(1) from None
    if view.json:
        print_json(answer)
    else:
        say("The test webhook was accepted.", fg="green")


async def _read(settings: Settings) -> tuple[list[Alert], Sending, int]:
    async with open_store(settings) as redis:
        found = list((await state.watched(redis)).values())
        return found, await state.sending(redis), await state.outbox_length(redis)
