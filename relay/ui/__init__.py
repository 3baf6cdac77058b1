"""The look of the pages: a style sheet, the frame of a page, macros for its parts, and strict security headers.

Pages are rendered by the server (jinja2) and work without script. htmx, where it runs, replaces parts of a page in
place; it is a copy of htmx.org 2.0.11 (https://htmx.org, Zero-Clause BSD) as its registry has it. A page has no inline
script and no inline style, so its Content-Security-Policy forbids both.
"""
