"""The file that says what a datastore holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from formers.machine.files import write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.machine.typed_json import record_from_json
from formers.retrieval.representations import Key

FILE = "datastore.json"
VERSION = 1
KeyDtype = Literal["float16", "float32"]


@dataclass(frozen=True, kw_only=True)
class Header:
    """Everything that a datastore knows of itself.

    Attributes:
        model, corpus: fingerprints of the model that made the keys and of the text.
        key: which representation the keys are.
        dtype: of the keys.
        entries, width: numbers of keys N and of values in each, D.
        vocab_size: tokens that the model knows.
        length, context: how the text was read, as in `Reading`.
        block: entries that are written, and checked, at a time.
        content: the sha256 over those of all blocks; empty until the datastore is finished.
        version: of the format.
    """

    model: str
    corpus: str
    key: Key
    dtype: KeyDtype
    entries: int
    width: int
    vocab_size: int
    length: int
    context: int
    block: int
    content: str = ""
    version: int = VERSION

    @property
    def finished(self) -> bool:
        """True once every block has been written."""
        return bool(self.content)

    @property
    def blocks(self) -> int:
        """The number of blocks; the last one may be shorter."""
        return -(-self.entries // self.block)

    def range_of(self, block: int) -> tuple[int, int]:
        """Return the first entry of a block, and the one behind its last."""
        return block * self.block, min((block + 1) * self.block, self.entries)

    def write(self, folder: Path) -> None:
        """Write the header into the folder, with a digest of itself."""
        write_atomically(folder / FILE, json.dumps(sealed(asdict(self)), indent=1) + "\n", flush=True)

    @classmethod
    def read(cls, folder: Path) -> Header:
        """Return the header in a folder.

        Raises:
            FileNotFoundError: where there is none.
            ValueError: where it is damaged, or of a later version.
        """
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no datastore ({FILE} is not there); make one with: formers knn build"
            )
        try:
            data = unsealed(json_from_text(path.read_text(encoding="utf-8", errors="replace")))
            if data.get("version") != VERSION:
                raise ValueError(f"it has the version {data.get('version')!r}, and this library reads {VERSION}")
            header = record_from_json(cls, data)
            if min(header.entries, header.width, header.block, header.vocab_size) < 1:
                raise ValueError("its sizes must be positive")
        except ValueError as error:
            raise ValueError(f"{path} cannot be used: {error}; build the datastore again in another folder") from None
        return header

    def differences(self, other: Header) -> list[str]:
        """Return how another header differs, apart from being finished: one line each."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name != "content"]
        return [f"{name} is {_short(mine)}, not {_short(theirs)}" for name, mine, theirs in pairs if mine != theirs]


def _short(value: object) -> str:
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 12 else str(value)
