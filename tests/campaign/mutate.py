"""Small damage, drawn from a random source: to texts, to bytes, and to trees of plain values."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 7, 64, 2**31, 2**63, 10**12, 10**400, -(10**400), True, False),
    *(0.5, -0.5, 1.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
)
TEXTS = (
    *("", " ", "\n", "\r\n", "\t", "\0", "\x1b[31m", "\x9b", "\u202e", "\u2028", "\x85", "\ud800", "é", "🦙", "\ufeff"),
    *("nan", "inf", "1e309", "-1", "0x10", "1_0", "9" * 401, "None", "True", "false", "...", "lambda: 0", "x" * 20_000),
    *("(", ")", "[", "]", "{", "}", "'", '"', "\\", "#", ",", ":", ": ", "=", "==", "*", "**", "|", "&", "~", "-", "@"),
    *("[/x]", "[bold]", "<script>", "=1+1", "../..", "/dev/null", "~", "$HOME", "%s", "{0}", "__class__", "global"),
    *("~" * 1000, "(" * 1000, "-" * 1000, "[" * 1000, "a|" * 1000, "f(" * 300, "a" * 16_000 + "!"),
)
PLAIN: tuple[Any, ...] = (None, [], {}, [[]], [None], {"": ""}, {"part": "softmax"}, [1, "a", None], {"1": 1, "0": 0})


def a_text(rng: Random, text: str) -> str:
    """Return the text after one to three edits."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        end = min(to, at + 8)
        text = rng.choice(
            (
                text[:at] + text[end:],
                text[:at] + rng.choice(TEXTS) + text[at:],
                text[:at] + rng.choice(TEXTS) + text[end:],
                text[:at] + str(rng.choice(NUMBERS))[:420] + text[end:]
                if rng.random() < 0.5
                else text[:at] + rng.choice(",=()[]:'\"\n ") + text[at:],
                text[:to] + text[at:],
                text[:at] + text[at:to][::-1] + text[to:],
                text[:at],
            )
        )
    return text


def some_bytes(rng: Random, data: bytes) -> bytes:
    """Return the bytes after one to three edits: flipped, cut, doubled, zeroed, put in."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 8, 64)))
        data = rng.choice(
            (
                data[:at],
                data[:at] + data[end:],
                data[:at] + bytes(b ^ (1 << rng.randrange(8)) for b in data[at:end]) + data[end:],
                data[:at] + bytes(end - at) + data[end:],
                data[:end] + data[at:],
                data[:at] + rng.choice(TEXTS).encode("utf-8", "surrogatepass") + data[at:],
                data[:at] + rng.randbytes(rng.choice((1, 4, 100))) + data[at:],
            )
        )
    return data


def a_value(rng: Random, old: Any = None) -> Any:
    """Return a value in the place of another one."""
    if rng.random() < 0.03:
        return nested(rng.choice((30, 300, 3000)))
    if isinstance(old, str) and rng.random() < 0.5:
        return a_text(rng, old)
    return copy.deepcopy(rng.choice(rng.choice((NUMBERS, TEXTS, PLAIN))))


def nested(depth: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def a_tree(rng: Random, tree: Any) -> Any:
    """Return a copy of plain values after one to three edits, at any depth: replaced, removed, renamed, doubled."""
    root = [copy.deepcopy(tree)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        holder, key = rng.choice(list(_places(root)))
        edit = rng.randrange(4)
        if edit == 0 and holder is not root:
            del holder[key]
        elif edit == 1 and isinstance(holder, dict):
            holder[rng.choice((a_text(rng, str(key)), *TEXTS[:20]))] = holder.pop(key)
        elif edit == 2 and isinstance(holder, list) and holder is not root:
            holder.insert(key, rng.choice(holder))
        else:
            holder[key] = a_value(rng, holder[key])
    return root[0]


def _places(holder: Any) -> list[tuple[Any, Any]]:
    """Return every place in a tree, as a container and a key in it."""
    found = list[tuple[Any, Any]]()
    waiting = [holder]
    while waiting and len(found) < 2000:
        inner = waiting.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        found += [(inner, key) for key in keys]
        waiting += [inner[key] for key in keys if isinstance(inner[key], (dict, list))]
    return found


def as_json(tree: Any) -> str:
    """Return a tree as JSON; one that is too deep for Python to write, as deep brackets."""
    try:
        return json.dumps(tree)
    except RecursionError:
        return "[" * 20_000 + "]" * 20_000
