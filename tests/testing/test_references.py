"""Every part has an independent reference, and the whole part is compared with it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from small_parts import SmallRetention, small_retention
from torch import Tensor, nn

from formers.catalogue import CATALOGUE
from formers.mixers.identity import Identity, IdentityMixer
from formers.part import Part
from formers.testing import SITE, broken_laws, build, check, has_reference, laws_of, reference, references
from formers.testing.laws import same_as_reference, whole_part

FILES = sorted(Path(references.__file__).parent.glob("*.py"))
ONLY = [same_as_reference]


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name())
def test_every_part_has_a_reference(kind: type[Part]) -> None:
    assert has_reference(kind())
    assert same_as_reference in laws_of(kind())


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name())
def test_a_little_more_is_seen_in_every_part(kind: type[Part], monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(part: Part, **options: Any) -> nn.Module:
        module = build(part, **options)
        module.register_forward_hook(lambda module, given, result: (result[0] * 1.0001, result[1]))
        return module

    monkeypatch.setattr(whole_part, "build", spoilt)
    with pytest.raises(AssertionError, match="compared with the reference"):
        same_as_reference(kind())


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every module that a file imports from, anywhere in it, with the imported name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_references_share_no_code_with_the_library(path: Path) -> None:
    """Of the library they import parts alone, whose options they read, and where a part is built."""
    for module, name in imports(path):
        if not module.startswith("formers") or module.startswith("formers.testing.references"):
            continue
        thing: Any = getattr(import_module(module), name, None)
        assert module == "formers.part" or (isinstance(thing, type) and issubclass(thing, Part)), f"{module}.{name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_references_ask_nothing_of_a_part_but_its_options(path: Path) -> None:
    """No method of a part or pattern is called, but for what random patterns drew, and how wide an embedding is."""
    allowed = {"drawn", "embedding_width"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            asked = owner.rpartition(".")[2] in ("part", "pattern", "feature", "position", "norm", "wiring")
            assert not asked or node.func.attr in allowed, ast.unparse(node)


def test_a_users_part_keeps_the_laws() -> None:
    assert same_as_reference in laws_of(SmallRetention())
    check(SmallRetention(), site=SITE)


class Doubled(Identity):
    """y = 2·x."""

    def module(self, site: Any) -> Any:
        return DoubledMixer(site)


class DoubledMixer(IdentityMixer):
    def forward(self, x_bld: Tensor, state: Any = None, **rest: Any) -> Any:
        y_bld, state = super().forward(x_bld, state, **rest)
        return 2 * y_bld, state


def doubled(part: Doubled, site: Any, weights: Any, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    return 2 * references.on_layer(site, weights, x_bld, positions_bl)


def test_a_derived_part_has_its_bases_reference_unless_it_has_its_own() -> None:
    def broken() -> dict[str, str]:
        return broken_laws(Doubled(), site=SITE, only=[same_as_reference])

    assert "reference" in broken()["same_as_reference"]
    with references.with_reference(Doubled(), doubled):
        assert references.reference_of(Doubled()) is doubled
        assert broken() == {}
    assert references.reference_of(Doubled()) is references.token_mixing.identity


def test_a_reference_can_be_given_for_once() -> None:
    with pytest.raises(AssertionError, match="compared with the reference"):
        check(SmallRetention(), only=ONLY, reference=lambda *given: 1.01 * small_retention(*given))
    check(SmallRetention(), only=ONLY)


def test_without_a_reference_the_law_is_left_out_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(references.registry._REFERENCES, SmallRetention)
    assert same_as_reference not in laws_of(SmallRetention())
    with pytest.warns(UserWarning, match="small_retention.* has no reference"):
        check(SmallRetention(), only=ONLY)
    with pytest.raises(LookupError, match="@reference"):
        references.reference_of(SmallRetention())


def test_a_reference_is_registered_by_class() -> None:
    class _Own(Identity):
        pass

    reference(_Own)(doubled)
    assert references.reference_of(_Own()) is doubled
