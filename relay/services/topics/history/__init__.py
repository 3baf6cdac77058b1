"""The history of events: found by id or by what they have, told in full, followed live, sent again."""
