"""Storage in Redis: connections, every key and its lifetime, Lua scripts, and the streams that hold all state."""
