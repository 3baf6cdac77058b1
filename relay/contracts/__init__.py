"""Contracts with Linq: what the relay can read from the payloads of each event type, and how that changes.

facts        what is counted of each event, and the pairs of event type and payload version
learning     the share of events with each fact, and when it has collapsed; pure
redaction    a payload without its content: strings replaced by their kind
shapes       the keys and types of payloads, merged, and the differences between two of them
fixtures     redacted payloads that a team commits, with values of the right form
words        the enumerations that are Linq's own
"""
