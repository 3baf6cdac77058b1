"""Translation of v3 payloads between the versions 2025-01-01 and 2026-02-03, for handlers that were not moved yet.

rules       the differences, by event type, each with its source
messages    `data` of message.sent, message.received, message.delivered and message.read
chats       `data` of chat.created
translate   a body in one version in, the body in the other out
"""
