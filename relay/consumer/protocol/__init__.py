"""Reading a group, as generators that do no I/O (`steps`)."""
