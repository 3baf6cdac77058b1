"""From the inbox into topics: the router and the decoder of inbox entries."""
