"""Types and rules without I/O: functions take values and `now`, and return values."""
