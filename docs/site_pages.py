"""A hook of MkDocs that adds the pages which the code and the repository already hold: the start page, a page for every
part, the interface of each room, executed notebooks, and a gallery of reports."""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "docs")]

from site_gallery import gallery  # noqa: E402
from site_notebooks import TITLES, notebook_files, page_of_notebook  # noqa: E402

from formers.catalogue import AXES, members  # noqa: E402
from formers.cli.part_image import can_be_drawn, draw_part  # noqa: E402
from formers.mixers import Mixer, Softmax  # noqa: E402
from formers.part import ABILITIES, Part, default_of, value_text  # noqa: E402

ROOMS = ("formers", "formers.ops", "formers.models", "formers.adapt", "formers.lab", "formers.tasks", "formers.testing")
"""Packages whose public names have a page."""
GUIDES = {
    "Parts of your own": "own-parts.md",
    "Pretrained models": "adapt.md",
    "Tasks": "tasks.md",
    "Standard yardsticks": "evaluation.md",
    "Study files": "study-files.md",
    "Reports and pages": "reports.md",
    "From a laptop to a cluster": "scaling.md",
    "Larger searches": "search.md",
    "Decision Transformers": "control.md",
}
FINDINGS = {
    "Studies": "studies.md",
    "Gallery of reports": "gallery.md",
    "Benchmarks": "benchmarks.md",
    "Approximations": "approximations.md",
    "Positions": "positions.md",
}
LETTERS = {
    "B": "rows of the batch",
    "L": "tokens, and S those that are read",
    "D": "width of the model",
    "H": "heads",
    "G": "heads of keys and values",
    "K": "width of queries and keys in a head",
    "V": "width of values in a head",
    "M": "random or learned features",
}
LENGTHS = (512, 2048, 8192)
QUICK = os.environ.get("FORMERS_SITE_QUICK") == "1"
"""Without pictures and costs, which take most of a minute: for checking links."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation, which lists the parts there are."""
    parts = [{axis: [{kind.name(): page_of(axis, kind)} for kind in members(base)]} for axis, base in AXES.items()]
    trust = {"Laws": "laws.md", "Reliability": "reliability.md", "Decisions": "decisions/index.md"}
    config.nav = [
        {"Start": "index.md"},
        {"Parts": [{"All on one page": "parts.md"}, *parts]},
        {"Notebooks": [{title: page_of_notebook(stem)} for stem, title in TITLES.items()]},
        {"Guides": [{title: page} for title, page in GUIDES.items()]},
        {"Findings": [{title: page} for title, page in FINDINGS.items()]},
        {"Trust": [{title: page} for title, page in trust.items()]},
        {"Interface": [{room: f"interface/{room}.md"} for room in ROOMS]},
        {"Project": [{"Contributing": "contributing.md"}, {"Changelog": "changelog.md"}]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    pages: dict[str, str | bytes] = {
        "index.md": from_root("README.md"),
        "contributing.md": from_root("CONTRIBUTING.md"),
        "changelog.md": from_root("CHANGELOG.md"),
        "decisions/index.md": decisions(),
        "gallery.md": gallery(),
    }
    pages |= {f"interface/{room}.md": interface(room) for room in ROOMS}
    for axis, base in AXES.items():
        for kind in members(base):
            pages |= part_files(axis, kind)
    pages |= notebook_files()
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def from_root(name: str) -> str:
    """Return a page beside the docs, its links turned towards the site."""
    text = (ROOT / name).read_text()
    text = text.replace("](docs/decisions)", "](decisions/index.md)").replace("](docs/", "](")
    return text.replace("](CONTRIBUTING.md)", "](contributing.md)").replace("](CHANGELOG.md)", "](changelog.md)")


def decisions() -> str:
    """Return the list of decisions."""
    found = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    titles = [path.read_text().partition("\n")[0].lstrip("# ") for path in found]
    lines = [f"- [{title}]({path.name})" for title, path in zip(titles, found, strict=True)]
    return "# Decisions\n\nWhy things are as they are.\n\n" + "\n".join(lines) + "\n"


def interface(room: str) -> str:
    """Return the page of a package: its docstring, then each of its public names by where it is defined.

    Names that are loaded late, or that a folder shares, are not seen by who reads `__init__.py` alone. What takes
    `impl`, the ops, comes before what is around it.
    """
    package = import_module(room)
    public = [name for name in package.__all__ if not name.startswith("_")]
    homes = [home_of(package, name) for name in sorted(public, key=lambda name: not takes_impl(getattr(package, name)))]
    shown = "{heading_level: 2, show_root_full_path: false, show_root_toc_entry: true}"
    blocks = [f"# {room}", f"::: {room}\n    options: {{members: false, show_root_heading: false}}"]
    blocks += [f"::: {home}\n    options: {shown}" for home in homes if home]
    return "\n\n".join(blocks) + "\n"


def takes_impl(thing: Any) -> bool:
    return inspect.isfunction(thing) and "impl" in inspect.signature(thing).parameters


def home_of(package: ModuleType, name: str) -> str | None:
    """Return the full name of what a package makes public, with the module that defines it; None for what is made when
    it is asked for."""
    thing = getattr(package, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    if home := getattr(package, "_HOME_OF", {}).get(name):
        return f"{home}.{name}"
    for node in ast.parse(inspect.getsource(package)).body:
        if isinstance(node, ast.ImportFrom) and any((one.asname or one.name) == name for one in node.names):
            return f"{node.module}.{name}"
        if isinstance(node, ast.AnnAssign | ast.Assign) and name in ast.unparse(node).partition("=")[0]:
            return f"{package.__name__}.{name}"
    return None


def page_of(axis: str, kind: type[Part]) -> str:
    return f"parts/{axis}/{kind.name()}.md"


def part_files(axis: str, kind: type[Part]) -> dict[str, str | bytes]:
    """Return the page of a part, and its picture where it has one."""
    picture = picture_of(kind)
    blocks = [f"# `{kind.name()}`", *paragraphs(kind)]
    if picture:
        blocks += ["## Picture", f"![What {kind.name()} looks at]({kind.name()}.png)", PICTURE_NOTE]
    blocks += [*options(kind), *abilities(kind), *costs(kind), *plain_form(kind), *try_it(axis, kind), *letters(kind)]
    found: dict[str, str | bytes] = {page_of(axis, kind): "\n\n".join(blocks) + "\n"}
    return found | ({f"parts/{axis}/{kind.name()}.png": picture} if picture else {})


PICTURE_NOTE = (
    "Query tokens go down and key tokens across. A pattern is drawn as it is; of other mixers, features and positions "
    "the weights that they really give on a short sentence, queries being projected as keys are, so that like attends "
    "to like."
)


def paragraphs(kind: type[Part]) -> Iterator[str]:
    """Yield the documentation of a part; what is set apart there by two spaces stays as it is."""
    for paragraph in inspect.cleandoc(kind.__doc__ or "").split("\n\n"):
        yield text(" ".join(paragraph.split()))


def text(words: str) -> str:
    """Return words in which only code is markup; arXiv's numbers become links."""
    pieces = words.split("`")
    shown = [re.sub(r"([*_<>\[\]|])", r"\\\1", piece) if i % 2 == 0 else piece for i, piece in enumerate(pieces)]
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", "`".join(shown))


def options(kind: type[Part]) -> list[str]:
    docs = kind.option_docs()
    if not docs:
        return []
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for field in fields(kind):  # type: ignore[arg-type]
        lines.append(
            f"| `{field.name}` | `{value_text(default_of(field))}` | {text(' '.join(docs[field.name].split()))} |"
        )
    return ["## Options", "\n".join(lines)]


def abilities(kind: type[Part]) -> list[str]:
    lines = [f"| {name} | {text(promise)} |" for name, promise in ABILITIES.items() if name in kind.can]
    return ["## What it can do", "\n".join(["| ability | promise |", "|---|---|", *lines])] if lines else []


def picture_of(kind: type[Part]) -> bytes | None:
    """Return a PNG of a part's pattern or weights; None where there is none, and in a quick build."""
    if QUICK or not can_be_drawn(kind()):
        return None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "part.png"
        draw_part(kind(), None, place)
        return place.read_bytes()


def costs(kind: type[Part]) -> list[str]:
    """Return operations and streaming state of a mixer in a model of the default sizes, beside those of softmax."""
    if QUICK or not issubclass(kind, Mixer):
        return []
    rows = []
    for length in LENGTHS:
        (own, state), (other, other_state) = cost_at(kind(), length), cost_at(Softmax(), length)
        rows.append(f"| {length:,} | {own / 1e6:.2f} M | {own / other:.2f} × | {shown(state)} | {shown(other_state)} |")
    head = ["| tokens | FLOPs a token | of softmax | state of a row | of softmax |", "|--:|--:|--:|--:|--:|"]
    note = "Counted, not measured: a forward pass of a whole model of the default sizes; the state is in float32."
    return ["## Costs", "\n".join(head + rows), note]


@cache
def cost_at(mixer: Mixer, length: int) -> tuple[float, float | None]:
    """Return FLOPs a token, and the bytes of a row's state after so many; None where it does not stream."""
    import torch

    from formers.models import CausalLM, MaskedLM, TransformerConfig

    causal = "causal" in mixer.abilities
    config = TransformerConfig(mixer=mixer, position="none", context_length=length, causal=causal)
    with torch.device("meta"):
        model = (CausalLM if causal else MaskedLM)(config).eval()
    state = model.state_bytes(length) if causal and "streaming" in mixer.abilities else None
    return model.flops_per_token(length), state


def shown(state: float | None) -> str:
    return "does not stream" if state is None else f"{state / 2**20:.2f} MiB" if state else "none"


def plain_form(kind: type[Part]) -> list[str]:
    """Return the code of the part's reference: the formula as the laws have it, in float64."""
    from formers.testing.references import has_reference, reference_of

    if not has_reference(kind()):
        return []
    code = inspect.getsource(reference_of(kind()))
    return ["## The formula as code", "The independent form that the laws compare it with.", f"```python\n{code}```"]


def try_it(axis: str, kind: type[Part]) -> list[str]:
    """Return commands and a line of Python that use the part."""
    name = kind.name()
    option, value = ("mixer", f"linear(feature={name})") if axis == "feature" else (axis, name)
    default = "" if axis == "feature" else "  # against the default"
    commands = f"formers show {name}\nformers ablate shakespeare --vary '{option}={value}'{default}"
    python = f'from formers import TransformerConfig\n\nconfig = TransformerConfig().swap({option}="{value}")'
    return ["## Try it", f"```sh\n{commands}\n```", f"```python\n{python}\n```"]


def letters(kind: type[Part]) -> list[str]:
    words = inspect.cleandoc(kind.__doc__ or "")
    used = {
        letter: meaning for letter, meaning in LETTERS.items() if re.search(rf"(?<![A-Za-z]){letter}(?![a-z])", words)
    }
    lines = [f"| {letter} | {meaning} |" for letter, meaning in used.items()]
    return ["## Letters", "\n".join(["| letter | meaning |", "|---|---|", *lines])] if lines else []


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page of GitHub's Markdown as MkDocs has it: without the marks of generated tables, without backslashes
    before pipes in their code, and with an underscore in links to a heading that is there more than once."""
    text = re.sub(r"<!-- .*? -->\n", "", markdown)
    text = re.sub(r"^\|.*\|$", lambda row: re.sub(r"`[^`]*`", plain_pipes, row[0]), text, flags=re.M)
    return re.sub(r"\]\(#(\w+)-(\d)\)", r"](#\1_\2)", text)


def plain_pipes(code: re.Match[str]) -> str:
    return code[0].replace("\\|", "|")
