"""`python -m workers`: one worker process, the same as `relay worker`."""

from relay.cli import main

main("worker")
