"""Fault injection: misbehaviour of Linq on request."""
