"""Verification of Linq's three signature dialects."""
