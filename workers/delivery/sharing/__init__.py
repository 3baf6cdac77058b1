"""The deliveries of a partition on several shards: one course, and flow control of a subscription as a whole."""
