"""The admin listener: `/live`, `/ready` and `/metrics` of a process, or of a group of processes."""
