"""The demo: sandbox, relay and two sample teams on one machine, with a live display."""
