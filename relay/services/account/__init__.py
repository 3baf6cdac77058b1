"""Services of teams, tokens, sessions of the page and the audit."""
