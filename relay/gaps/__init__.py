"""Gaps: messages that Linq has and for which no event was accepted; found by a walk, and put back."""
