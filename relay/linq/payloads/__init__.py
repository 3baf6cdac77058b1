"""Decoding of Linq's payloads: envelope, fields, event types."""
