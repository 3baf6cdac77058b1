"""The bearer of a token, teams, tokens and the audit."""
