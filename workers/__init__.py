"""The arq side: the route and deliver jobs, the sweep, and the HTTP sender."""
