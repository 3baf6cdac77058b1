"""Linq's interfaces: signatures, envelopes, line extraction, target URLs and the API clients."""
