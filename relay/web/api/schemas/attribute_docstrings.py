"""The docstrings below the attributes of a pydantic model."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of each attribute, inherited ones included.

    The source is parsed here, and not by pydantic (`use_attribute_docstrings`), since only documents need it:
    parsing costs every process that imports the API a third of what the imports cost.
    """
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or not base.model_fields or base.__pydantic_generic_metadata__["args"]:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = [statement for definition in tree.body for statement in getattr(definition, "body", [])]
        for attribute, below in pairwise(body):
            match attribute, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = inspect.cleandoc(text)
                case _:
                    pass
    return texts
