"""A simulated Linq, complete enough to run and test the relay without an account."""
