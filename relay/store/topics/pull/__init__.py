"""Pull groups over HTTP: consumer groups of a topic whose members have no connection to Redis."""
