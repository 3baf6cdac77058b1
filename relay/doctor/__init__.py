"""The doctor: checks Redis, Linq and every push endpoint, and reports findings with remedies. It changes nothing."""
