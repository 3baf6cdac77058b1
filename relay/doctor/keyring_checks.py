"""Checks of the keyring: that RELAY_SECRET_KEY decrypts every secret, and which key is still needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.doctor.finding import Finding, not_checked, ok, problem, warning
from relay.parts import open_keyring
from relay.rules.cipher import cipher_of
from relay.store.keyring.record import UnusableRecord
from relay.store.stored_subscriptions.hash import StoredSubscriptions

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis

AREA = "keyring"


async def examine_keyring(settings: Settings, redis: Redis) -> list[Finding]:
    """Return a finding for each secret that cannot be used."""
    if settings.relay_secret_key is None:
        why = "RELAY_SECRET_KEY not set"
        return [not_checked(AREA, "secrets", why, "set it if an ingress or bootstrap runs on this machine")]
    keyring = open_keyring(settings, redis)
    records, broken = await keyring.read()
    wrong_key: list[UnusableRecord] = []
    for record in records:
        try:
            keyring.open(record)
        except UnusableRecord as error:
            (wrong_key if error.wrong_key else broken).append(error)
    findings = [problem(AREA, str(error), "relay bootstrap apply") for error in broken]
    if wrong_key:
        owners = ", ".join(sorted({error.owner for error in wrong_key})[:5])
        part = f"{len(wrong_key)} of {len(records)} secrets in {redis.key.keyring} ({owners})"
        remedy = "use the key that relay bootstrap apply used, or give it in RELAY_SECRET_KEY_OLD"
        return [*findings, problem(AREA, f"RELAY_SECRET_KEY does not decrypt {part}", remedy)]
    if older := len((await keyring.key_use()).older):
        what = f"{older} secrets still need RELAY_SECRET_KEY_OLD"
        findings.append(warning(AREA, what, "relay bootstrap apply, once every ingress and worker has the new key"))
    cipher = cipher_of(settings)
    if cipher is not None and (stored := await StoredSubscriptions(redis).of_older_keys(cipher)):
        what = f"the secrets of {stored} subscriptions made by the API still need RELAY_SECRET_KEY_OLD"
        findings.append(warning(AREA, what, "relay bootstrap apply, once every ingress and worker has the new key"))
    return findings or [ok(AREA, f"RELAY_SECRET_KEY decrypts all {len(records)} secrets")]
