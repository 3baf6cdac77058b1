"""The life of a message: what the topics hold of it, joined by its id.

steps     one event of it: the kind of step, its time, who did it
summary   the state of the message, and what is missing
life      the search for the steps, in bounded time, and what each subscription has of them
"""
