"""The ledger: the state of all events that were routed to each subscription, read exactly or at a glance."""
