"""Libraries are kept from drawing bars over what a command prints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tqdm.auto import tqdm
from transformers.utils import logging

from formers.machine.quiet_libraries import quiet_libraries, quiet_loading


@pytest.fixture
def transformers_draws() -> Iterator[None]:
    """transformers draws bars, whatever was said before in this process."""
    drawn = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    yield
    if not drawn:
        logging.disable_progress_bar()


@pytest.mark.usefixtures("transformers_draws")
@pytest.mark.parametrize("draw", [tqdm, logging.tqdm], ids=["tqdm", "transformers"])
def test_no_bar_is_drawn_while_a_model_is_loaded(draw: object, capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_loading():
        assert [*draw(range(3), desc="Converting and de-quantizing GGUF tensors...")] == [0, 1, 2]  # type: ignore[operator]
    assert capsys.readouterr().err == ""
    assert [*draw(range(3), desc="Downloading")] == [0, 1, 2]  # type: ignore[operator]
    assert "Downloading" in capsys.readouterr().err


def test_transformers_stays_quiet_when_it_is_imported_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    before = logging.get_verbosity()
    try:
        logging._reset_library_root_logger()
        quiet_libraries()
        assert logging.get_verbosity() == logging.ERROR  # the first call sets up the logger, as an import does
    finally:
        logging.set_verbosity(before)
