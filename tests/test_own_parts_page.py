"""The worked examples of docs/own-parts.md are real parts: they keep the laws, as they stand on the page."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from formers.testing.check import CORE_LAWS, check
from formers.testing.harness import SITE

PAGE = Path(__file__).parent.parent / "docs" / "own-parts.md"
EXAMPLES: dict[str, str] = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", PAGE.read_text(), re.S))
TESTS = re.findall(r"^def (test_\w+)", EXAMPLES["test_examples.py"], re.M)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    """The files of the page, written as they are and imported by their names."""
    folder = tmp_path_factory.mktemp("examples")
    for name, code in EXAMPLES.items():
        (folder / name).write_text(code)
    sys.path.insert(0, str(folder))
    try:
        return {name: importlib.import_module(name.removesuffix(".py")) for name in EXAMPLES}
    finally:
        sys.path.remove(str(folder))


@pytest.mark.parametrize(
    "test",
    [pytest.param(test, marks=[pytest.mark.slow] if test in ("test_maxout", "test_kerple") else []) for test in TESTS],
)
def test_the_page(examples: dict[str, ModuleType], test: str) -> None:
    getattr(examples["test_examples.py"], test)()


def test_the_feed_forward_keeps_the_core_laws(examples: dict[str, ModuleType]) -> None:
    reference = examples["test_examples.py"].maxout
    check(examples["maxout.py"].Maxout(), only=CORE_LAWS, site=SITE, reference=reference)


def test_options_are_documented(examples: dict[str, ModuleType]) -> None:
    retention, kerple = examples["retention.py"].Retention, examples["kerple.py"].Kerple
    assert all(retention.option_docs().values())
    assert all(kerple.option_docs().values())
    assert repr(retention(reach=4)) == "retention(reach=4.0)"


def test_a_shared_table_is_saved_once(examples: dict[str, ModuleType], tmp_path: Path) -> None:
    import torch

    from formers.models import MaskedLM, TransformerConfig

    config = TransformerConfig(
        vocab_size=11, width=24, heads=3, depth=3, position=examples["kerple.py"].Kerple(), mixer=["softmax", "sparse"]
    )
    model, ids = MaskedLM(config).eval(), torch.arange(22).view(2, 11) % 11
    model.save_pretrained(tmp_path)
    again = MaskedLM.from_pretrained(tmp_path).eval()
    assert [name for name in model.state_dict() if "log_rates" in name] == [
        "model.layers.0.mixer.score_position.log_rates.weight"
    ]
    assert torch.equal(again(ids).logits, model(ids).logits)
    model(ids).logits.sum().backward()
    assert model.model.layers[0].mixer.score_position.log_rates.weight.grad is not None
    assert model.model.separate_layers() == []
