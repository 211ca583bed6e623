"""Parts in a user's file are known by name once it is run, in other processes too; what is wrong with it is named."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from formers.mixers import Mixer
from formers.norms import Norm
from formers.part import Part, load_parts, own_code, own_kinds
from formers.part.files_beside import files_beside

TEXT = '''
"""A norm."""

from torch import nn

from formers.norms import Norm


class Halved(Norm):
    """x/2."""

    factor: float = 0.5
    "The factor."

    def build(self, site):
        return nn.Identity()
'''


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "halved_norm.py"
    path.write_text(TEXT)
    yield path
    sys.modules.pop("halved_norm", None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def test_a_loaded_part_is_one_like_any_other(file: Path) -> None:
    [kind] = load_parts(file)
    part = Norm.parse("halved(factor=0.25)")
    assert (type(part), kind.origin, part.factor) == (kind, str(file), 0.25)  # type: ignore[attr-defined]
    assert Norm.from_json(part.to_json()) == part
    assert kind in own_kinds(Norm)
    assert list(own_code({"norms": (part,)})) == [str(file)]
    assert kind.option_docs() == {"factor": "The factor."}


def test_a_file_is_run_again_only_if_it_changed(file: Path) -> None:
    [kind] = load_parts(file)
    assert load_parts(str(file)) == (kind,)
    file.write_text(TEXT.replace("0.5", "0.75"))
    before = own_code(kind())
    [newer] = load_parts(file)
    assert newer is not kind
    assert Norm.parse("halved") == newer(factor=0.75)  # type: ignore[call-arg]
    assert own_code(newer()) != before
    assert own_kinds(Norm).count(newer) == 1
    assert kind not in own_kinds(Norm)


def test_another_process_gets_the_part(file: Path, tmp_path: Path, python: Any) -> None:
    load_parts(file)
    (tmp_path / "part.bin").write_bytes(pickle.dumps(Norm.parse("halved(factor=2)")))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'part.bin')!r}, 'rb')))"
    done = python.run("-c", code)
    assert done.out.strip() == "halved(factor=2.0)", done.err


def test_modules_beside_the_file_can_be_imported(file: Path) -> None:
    (file.parent / "factor_beside.py").write_text("FACTOR = 3.0")
    file.write_text(TEXT.replace("from torch", "from factor_beside import FACTOR\nfrom torch").replace("0.5", "FACTOR"))
    assert str(load_parts(file)[0](factor=1)) == "halved(factor=1.0)"
    assert str(load_parts(file)[0]()) == "halved()"


@pytest.fixture
def package(file: Path) -> Iterator[Path]:
    """A package beside the file, from which it takes its factor by way of another module."""
    package = file.parent / "beside_it"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "given.py").write_text("from .numbers_of_it import FACTOR\n")
    (package / "numbers_of_it.py").write_text("FACTOR = 3.0\n")
    (package / "unused.py").write_text("")
    text = TEXT.replace("from torch", "from beside_it import given\nfrom torch")
    file.write_text(text.replace("0.5", "given.FACTOR"))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "beside_it"]:
        del sys.modules[name]


def test_a_file_that_imports_nothing_beside_it_is_known_by_its_text(file: Path) -> None:
    (file.parent / "unused.py").write_text("x = 1")
    [kind] = load_parts(file)
    assert own_code(kind()) == {str(file): sha256(file.read_bytes()).hexdigest()}


def test_a_changed_module_beside_it_is_another_code_and_runs(file: Path, package: Path) -> None:
    [kind] = load_parts(file)
    assert files_beside(file) == [package / name for name in ("__init__.py", "given.py", "numbers_of_it.py")]
    before = own_code(kind())
    (package / "unused.py").write_text("x = 1")
    assert load_parts(file) == (kind,)
    (package / "numbers_of_it.py").write_text("FACTOR = 30.0\n")
    [newer] = load_parts(file)
    assert newer().factor == 30.0  # type: ignore[attr-defined]
    after = own_code(newer())
    assert before.keys() == after.keys() == {str(file)}
    assert before != after


def test_modules_that_python_finds_elsewhere_are_not_beside_it(file: Path) -> None:
    (file.parent / "torch.py").write_text("")
    (file.parent / "json.py").write_text("")
    file.write_text(f"import json\n{TEXT}")
    load_parts(file)
    assert files_beside(file) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("class Halved(Norm)", "class LayerNorm(Norm)"),
            "the norm layer_norm is there already, in formers.norms; give",
        ),
        (("from torch", "import nothing_there\nfrom torch"), r"halved_norm.py, line 4: ModuleNotFoundError"),
        (("return nn.Identity()", "return ("), r"halved_norm.py, line 1[67]: SyntaxError"),
        ((TEXT, "x = 1"), "defines no part"),
    ],
)
def test_what_is_wrong_with_a_file(file: Path, change: tuple[str, str], said: str) -> None:
    file.write_text(TEXT.replace(*change))
    with pytest.raises(ValueError, match=said):
        load_parts(file)


def test_no_file() -> None:
    with pytest.raises(FileNotFoundError, match="no file of parts at"):
        load_parts("nowhere.py")


def test_a_name_like_no_other_is_told_how_to_name_ones_own() -> None:
    with pytest.raises(ValueError, match="did you mean 'softmax'"):
        Mixer.parse("softmx")
    with pytest.raises(
        ValueError, match=r"a part of your own is known once its file was imported, or named with --parts"
    ):
        Mixer.parse("attention_of_mine")


def test_a_value_without_a_type_is_no_option_and_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"Wide\.size = 3 has no type, so it is no option; write size: int = 3"):

        class Wide(Norm):
            size = 3
            _constant = 4

    assert issubclass(Wide, Part)
