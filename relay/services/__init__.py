"""The services: all that people do with the relay, without presentation.

The command line, the API and the page call these functions and hold no rules of their own. Each takes a `Context` and
the `Principal` who asks, gives typed values, checks access itself, and records a change in the audit before it makes
it.
"""
