"""Services of topics, their events and their pull groups."""
