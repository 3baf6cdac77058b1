"""Commands over the API of a relay, with a token only: the client, and its answers as what the services return."""
