"""Teams that the API made, and what acts for a team: tokens and sign-in codes.

`records` are the records of teams and tokens; those of relay.toml's teams are in the file only.
"""
