"""Verification of Linq's three signature families."""
