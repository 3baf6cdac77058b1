"""Services for operators: overview, ledger, lines, Linq and the quarantine."""
