"""Pull over HTTP: the members of a consumer group receive, acknowledge, extend and hand back events."""
