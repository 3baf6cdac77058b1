"""One HTTP request to a subscriber: request template, connection pool, connection, outcome."""
