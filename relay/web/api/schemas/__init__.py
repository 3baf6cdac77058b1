"""Schemas for subscribers: of each event's body, of the fields around it, and the AsyncAPI document.

The bodies are Linq's: their schemas come from the models of Linq's SDK (`sdk`), and from its documents where the SDK
has no model (`payloads_2025`, `payloads_v2`). The rest is the relay's own, and its names come from the code that writes
them, so that a document which differs from the code cannot be made. `relay schemas` writes the files, and a test
compares the committed ones with its output.
"""
