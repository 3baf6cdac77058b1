"""The page: what operators and teams see and do in a browser.

It is rendered on the server and holds no rules of its own: a view calls services, and a template shows what they
return. htmx exchanges parts of it, and everything but what is live works without any script.
"""
