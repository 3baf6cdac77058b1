"""Resources of the machine that a process uses: CPU time, memory for garbage, file descriptors."""
