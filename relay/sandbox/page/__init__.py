"""The page of the sandbox: shows what happens in it, and has a form for each action of the control API."""
