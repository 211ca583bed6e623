"""The documentation of options: the string literals under the fields of a part's class."""

from __future__ import annotations

import ast
import inspect
import textwrap


def docs_in_source(kind: type) -> dict[str, str]:
    """Return the string literal under each annotated field of a class, read from its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            docs[field.target.id] = inspect.cleandoc(str(getattr(text.value, "value", "")))
    return docs
