"""Events from acceptance to routing: the inbox, its deduplication, the quarantine, the chat index."""
