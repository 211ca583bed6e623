"""Write the parts of the documentation that the code already says: tables in README.md and CONTRIBUTING.md,
docs/parts.md, docs/laws.md, docs/study-files.md and the JSON Schema of study files.

python docs/generate.py           write them
python docs/generate.py --check   only say whether they are up to date (exit code 1 if not)
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from house import house_table
from laws import laws_page
from study_schema import NAME as SCHEMA
from study_schema import page as study_page
from study_schema import schema

from formers.catalogue import AXES, members
from formers.computation import DepthOracle, ExitRule
from formers.part import ABILITIES, Part, default_of, value_text
from formers.patterns import PATTERNS, Pattern

ROOT = Path(__file__).parent.parent
LISTED: dict[str, tuple[type[Part], ...]] = {axis: members(base) for axis, base in AXES.items()} | {"pattern": PATTERNS}
"""What the tables list: the parts of each axis, and the patterns, which mixers are made from."""


def summary(kind: type[Part]) -> str:
    """The first sentence of a part's docstring."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def names() -> str:
    """The names of the parts, a line for each axis."""
    lines = ["| axis | parts |", "|---|---|"]
    for axis, kinds in LISTED.items():
        lines.append(f"| **{axis}** | {', '.join(f'`{kind.name()}`' for kind in kinds)} |")
    return "\n".join(lines)


def overview() -> list[str]:
    """The parts by axis, one line each, with a link to the rest."""
    lines = ["| axis | part | what it is |", "|---|---|---|"]
    for axis, kinds in LISTED.items():
        for i, kind in enumerate(kinds):
            name, place = kind.name(), f"#{anchor(axis, kind)}"
            lines.append(f"| {f'**{axis}**' if i == 0 else ''} | [`{name}`]({place}) | {cell(summary(kind))} |")
    return lines


def anchor(axis: str, kind: type[Part]) -> str:
    """The anchor of a part's heading: its name; with a number, as renderers count, where an earlier axis has it too."""
    earlier = 0
    for before, kinds in LISTED.items():
        if before == axis:
            break
        earlier += sum(one.name() == kind.name() for one in kinds)
        earlier += before == kind.name()
    return kind.name() + (f"-{earlier}" if earlier else "")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def reference() -> str:
    """Every part with its options, what it can do, and its docstring."""
    lines = [
        "# Parts",
        "",
        "Made by `docs/generate.py` from the code. In text a part is written as `name(option=value)`; a pattern may "
        "stand where a mixer does, and means `sparse` over it: `window(128) | sinks(4)`.",
        "",
        *overview(),
        "",
    ]
    lines += ["What a part may be able to do:", "", "| ability | promise |", "|---|---|"]
    lines += [f"| {name} | {promise} |" for name, promise in ABILITIES.items()]
    within = {"exit rule": ExitRule, "depth oracle": DepthOracle}  # choices within early_exit
    for axis, base in (AXES | {"pattern": Pattern} | within).items():
        lines += ["", f"## {axis}", "", " ".join((base.__doc__ or "").split("\n\n")[0].split())]
        for kind in LISTED.get(axis) or base.kinds():
            lines += ["", f"### `{kind.name()}`", "", *documentation(kind)]
    return "\n".join(lines) + "\n"


def documentation(kind: type[Part]) -> list[str]:
    lines = [" ".join(paragraph.split()) + "\n" for paragraph in (kind.__doc__ or "").split("\n\n")]
    if docs := kind.option_docs():
        lines += ["| option | default | meaning |", "|---|---|---|"]
        for field in fields(kind):
            meaning = cell(" ".join(docs[field.name].split()))
            lines.append(f"| `{field.name}` | `{value_text(default_of(field))}` | {meaning} |")
        lines.append("")
    if kind.can:
        lines.append(f"Can: {', '.join(sorted(kind.can))}.")
    return lines


def with_table(page: str, name: str, made: str) -> str:
    """Return a page with the table between its marks `<!-- name: … -->` and `<!-- end of name -->` made anew."""
    begin, end = f"<!-- {name}: made by docs/generate.py -->", f"<!-- end of {name} -->"
    before, rest = (ROOT / page).read_text().split(begin)
    return f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}"


def main() -> int:
    made = {
        ROOT / "README.md": with_table("README.md", "parts", names()),
        ROOT / "CONTRIBUTING.md": with_table("CONTRIBUTING.md", "house", house_table()),
        ROOT / "docs" / "parts.md": reference(),
        ROOT / "docs" / "laws.md": laws_page(),
        ROOT / "docs" / "study-files.md": study_page(),
        ROOT / "docs" / SCHEMA: schema(),
    }
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        print("\n".join(f"{path.relative_to(ROOT)} is out of date; run `make docs`" for path in stale) or "up to date")
        return len(stale) > 0
    for path in stale:
        path.write_text(made[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
