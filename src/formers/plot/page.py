"""HTML pages that open offline: one file with its style and script, and a policy that forbids everything else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from formers.plot.looks import SHARED_LOOK
from formers.plot.number_format import fixed, grouped, percent
from formers.plot.visible_text import visible


def render_page(
    template: str,
    contents: Mapping[str, object],
    filters: Mapping[str, Callable] | None = None,
) -> str:
    """Return a template as a whole page; the same contents give the same page.

    Args:
        template: a path below `src/formers`, such as `bench/bench.html.jinja`; it extends `plot/page.html.jinja`, and
            may import the templates beside other modules by their paths.
        contents: the template's variables, of which `looks`, name → `Look`, is read by the macros of `chart.svg.jinja`.
            Text in them is escaped. With `reload_seconds` the browser reads the file again so often.
        filters: filters of the template besides `breakable`, `fixed`, `grouped` and `percent`.

    Raises:
        jinja2.UndefinedError: for a variable that the template uses and `contents` lacks.
    """
    environment = _environment(tuple((filters or {}).items()))
    return visible(environment.get_template(template).render(contents))


@cache
def _environment(filters: tuple[tuple[str, Callable], ...]) -> Environment:
    """Return what compiles templates, with its filters; once a process: a page takes longer to compile than to fill."""
    folder = Path(__file__).parent
    css, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=PackageLoader("formers", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(breakable=_breakable, fixed=fixed, grouped=grouped, percent=percent, **dict(filters))
    environment.globals.update(
        css=Markup(css),
        script=Markup(script),
        policy=_security_policy(css, script),
        shared_look=SHARED_LOOK,
        reload_seconds=None,
    )
    return environment


def csv_download(text: str) -> str:
    """Return a `data:` address that holds `text` as a CSV file."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text.encode('utf-8', 'replace')).decode()}"


def _breakable(text: str) -> Markup:
    """Return `text`, escaped, that may break after an opening bracket, a comma, an equals sign, or an underscore."""
    return Markup("<wbr>").join(re.split(r"(?<=[(,=_])(?![) ])", text))


def _security_policy(css: str, script: str) -> str:
    """Return a content security policy: no request to anywhere, and no style or script but the two that are given.

    Pictures may come from `data:` addresses in the page, as charts do on their way into a PNG.
    """
    style_hash, script_hash = (base64.b64encode(hashlib.sha256(x.encode()).digest()).decode() for x in (css, script))
    return f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'"
