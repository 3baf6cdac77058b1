"""Subscriptions made by the API: create, change, delete, rotate the secret, export; and a test of any subscription."""

from relay.services.deliveries.stored_subscriptions.changes import Changed, change, create, delete, rotate_secret
from relay.services.deliveries.stored_subscriptions.export import export
from relay.services.deliveries.stored_subscriptions.looks import StoredState, find, list_stored
from relay.services.deliveries.stored_subscriptions.sending import SentTest, send_test

__all__ = [
    "Changed",
    "SentTest",
    "StoredState",
    "change",
    "create",
    "delete",
    "export",
    "find",
    "list_stored",
    "rotate_secret",
    "send_test",
]
