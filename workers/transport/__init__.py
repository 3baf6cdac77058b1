"""HTTP requests to subscribers: request template, connection pool, connection, outcome."""
