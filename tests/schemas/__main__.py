"""Makes the TypeScript types and the Go structs below deploy/schemas again: `python -m tests.schemas`.

It needs node, npm and Go. Run `relay schemas` before it.
"""

from __future__ import annotations

from tests.schemas.tools import SCHEMAS, generate, node_modules

if __name__ == "__main__":
    generate(SCHEMAS, node_modules())
