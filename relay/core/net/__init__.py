"""Addresses and URLs."""
