"""A Linq of one's own: enough of the real one to run and test the relay without an account."""
