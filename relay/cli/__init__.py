"""The command line.

    main              answers Ctrl-C, and imports the rest
    roles             processes that serve, which start without the rest
    program           the table of commands, which names the module of each; only the one that is called is imported
    command, filters  what commands have in common: their examples and options
    help, output      what an operator reads: help pages, tables, JSON

Exit codes: 0 done, 1 failed (the message says why), 2 the command line, the environment or relay.toml is wrong,
130 stopped by Ctrl-C.
"""

import sys

try:  # nothing is imported before, not even `__future__`: the standard library takes a tenth of a second at times
    from importlib import import_module

    from relay.cli.interrupts import exit_on_interrupt, ignore_interrupts
except KeyboardInterrupt:
    sys.exit(130)


def main(*arguments: str) -> None:
    """Run the command line, or the role that `arguments` name, as in `relay worker`."""
    with exit_on_interrupt():
        role = import_module("relay.cli.roles").role_of(arguments or sys.argv[1:])
        run = role or import_module("relay.cli.program").run
    code = run()
    ignore_interrupts()
    sys.exit(code)
