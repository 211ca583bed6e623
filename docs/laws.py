"""The page of the laws: each of the eighteen from the docstrings of its files and of the functions that check it."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from formers.testing import ANYWHERE, LAWS, POSITIONED, SITE, SLOW_LAWS, WIDE, Law, laws
from formers.testing.sites import label

HEAD = """# Laws

Made by `docs/generate.py` from the code of `formers.testing`. A law is a property that every part keeps; `check(part)`
tries them all, for the parts of this library and for yours:

```python
from formers.testing import check


def test_my_mixer():
    check(MyMixer(window=5))
```

Each check is tried at several sites: small, with a position in each place where the part can take one, and with a head
as wide as real ones. All have a context length of 128:

{sites}

Inputs are B = 2 rows of L = 77 tokens in float64 unless a law says otherwise. Each law is proved to reject faults that
are planted for it (`tests/testing/`)."""
LISTS: tuple[tuple[dict[Law, frozenset[str]], str], ...] = (
    (LAWS, ""),
    (SLOW_LAWS, "only when slow laws are asked for, `check(part, slow=True)`"),
)
"""Where a check is listed, and when it is tried then."""


def laws_page() -> str:
    """Return the page: the laws by number, and those beside the eighteen at the end."""
    modules = [import_module(f"{laws.__name__}.{found.name}") for found in iter_modules(laws.__path__)]
    lines = [HEAD.format(sites="\n".join(f"- {label(site)}" for site in (SITE, *POSITIONED.values(), WIDE)))]
    for module in sorted(modules, key=lambda module: (number_of(module) or 99, module.__name__)):
        lines += ["", *chapter(module)]
    return "\n".join(lines) + "\n"


def number_of(module: ModuleType) -> int | None:
    """Return the number of the law that a file checks; None where it checks none of the eighteen."""
    found = re.match(r"Law (\d+): ", module.__doc__ or "")
    return int(found[1]) if found else None


def chapter(module: ModuleType) -> list[str]:
    """Return what a file's docstring says of its law, and what each of its checks does."""
    title, *paragraphs = (" ".join(text.split()) for text in (module.__doc__ or "").split("\n\n"))
    lines = [f"## {title.rstrip('.')}"]
    for text in paragraphs:
        lines += ["", re.sub(r"^(Inputs|Exempt): (.)", lambda found: f"**{found[1]}.** {found[2].upper()}", text)]
    lines += ["", "| check | what it holds | demanded by | tried |", "|---|---|---|---|"]
    return lines + [row(check) for check in checks_in(module)]


def checks_in(module: ModuleType) -> list[Law]:
    """Return the checks that a file defines, in its order."""
    found = [check for listed, _ in LISTS for check in listed if check.__module__ == module.__name__]
    return sorted(found, key=lambda check: inspect.getsourcelines(check)[1])


def row(check: Law) -> str:
    """Return a check as a row of a table: its name, its first sentence, the abilities that demand it, and where it is
    tried."""
    needed, when = next((listed[check], when) for listed, when in LISTS if check in listed)
    demand = " and ".join(f"`{ability}`" for ability in sorted(needed)) or "every part"
    holds = " ".join((check.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")
    where = "at one site" if check in ANYWHERE else "at every site"
    return f"| `{check.__name__}` | {holds} | {demand} | {when or where} |"
