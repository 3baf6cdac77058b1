"""From the inbox into the topics: the router, and the decoder of inbox entries."""
