"""Shards: parts of the store that hold events apart from each other."""
