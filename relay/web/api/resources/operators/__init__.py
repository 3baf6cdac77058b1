"""The ledger, the quarantine and the lines."""
