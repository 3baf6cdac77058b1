"""More shards while the relay runs: the record of the change, the fences, and what follows the chats that move."""
