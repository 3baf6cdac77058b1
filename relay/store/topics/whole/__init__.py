"""Topics of a relay with several shards, as one."""
