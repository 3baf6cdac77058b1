"""The rules in force, merged from their sources."""
