"""The parts of `relay listen`: the events from the API, the POST to this machine, and what the terminal shows."""
