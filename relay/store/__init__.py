"""What speaks Redis: connections, every key and its lifetime, the scripts, and the streams that hold the truth."""
