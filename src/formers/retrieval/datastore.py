"""Datastores: representations of contexts, and the token that followed each, in files that are read piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from formers.models import CausalLM
from formers.retrieval.fingerprint import model_hash
from formers.retrieval.header import Header

KEYS, TOKENS, DIGESTS = "keys.npy", "tokens.npy", "blocks.sha256"
_REMEDY = "copy the folder again, or build the datastore again in another one"


@dataclass(frozen=True)
class Datastore:
    """Keys (N, D) and the token that followed each (N,), mapped into memory: what is not touched takes none.

    `Datastore.open` reads one, `build_datastore` makes one.

    Attributes:
        folder: where the files are.
        header: what it was made from, and its sizes.
        keys: (N, D), float16 or float32, on the CPU. Do not write to it.
        tokens: (N,), int32, on the CPU.
    """

    folder: Path
    header: Header
    keys: Tensor
    tokens: Tensor

    def __len__(self) -> int:
        return self.header.entries

    @classmethod
    def open(cls, folder: Path | str, model: CausalLM | None = None, *, verify: bool = True) -> Datastore:
        """Return the datastore in a folder.

        Args:
            model: the model that asks; where it is given, the datastore must have been made with it.
            verify: whether to compare every block with its digest, which reads the whole datastore once.

        Raises:
            FileNotFoundError: where there is none, or a file of it is missing.
            ValueError: where it is half-written, damaged, no datastore, or made with another model.
        """
        folder = Path(folder)
        header = Header.read(folder)
        if not header.finished:
            raise ValueError(
                f"{folder} is half-written: {len(read_digests(folder))} of {header.blocks} blocks are there; build it "
                "to its end with the same call, or the same formers knn build"
            )
        store = cls(folder, header, *map_files(folder, header))
        if model is not None:
            store.check_model(model)
        if verify:
            store.verify()
        return store

    def check_model(self, model: CausalLM) -> None:
        """Raise ValueError unless this model made the keys."""
        if self.header.model != (own := model_hash(model)):
            raise ValueError(
                f"{self.folder} was made with another model ({self.header.model[:12]}…, not {own[:12]}…): its keys "
                "mean nothing to this one; build a datastore with this model, or load the other one"
            )

    def verify(self) -> None:
        """Raise ValueError unless every block is what was written. Cost: reads the whole datastore once."""
        digests = read_digests(self.folder)
        if content_digest(digests) != self.header.content:
            raise ValueError(f"{self.folder / DIGESTS} is damaged, or another datastore's; {_REMEDY}")
        for block, digest in enumerate(digests):
            start, stop = self.header.range_of(block)
            if block_digest(self.keys[start:stop], self.tokens[start:stop]) != digest:
                raise ValueError(f"{self.folder} is damaged: the entries {start:,} to {stop - 1:,} changed; {_REMEDY}")

    def blocks(self, size: int | None = None, first: int = 0) -> Iterator[tuple[int, Tensor]]:
        """Yield the first entry of each block of `size` entries and its keys (n, D), from entry `first` on."""
        size = size or self.header.block
        for start in range(first, len(self), size):
            yield start, self.keys[start : start + size]

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Return keys of `count` different entries, or of all if there are fewer, (n, D) float32."""
        if count >= len(self):
            return self.keys.float()
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return self.keys[torch.from_numpy(np.sort(chosen))].float()


def map_files(folder: Path, header: Header) -> tuple[Tensor, Tensor]:
    """Return keys (N, D) and tokens (N,) as tensors over the files; what is written to them stays in memory.

    Raise FileNotFoundError where a file is missing, ValueError where it does not fit the header.
    """
    shape = (header.entries, header.width)
    keys = _map(folder / KEYS, header.dtype, shape)
    return keys, _map(folder / TOKENS, "int32", shape[:1])


def _map(path: Path, dtype: str, shape: tuple[int, ...]) -> Tensor:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {_REMEDY}")
    try:
        array: Any = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged or cut short: {str(error)[:200]}; {_REMEDY}") from None
    if array.dtype != np.dtype(dtype) or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, and {dtype} {shape} was expected; {_REMEDY}")
    return torch.from_numpy(array)


def block_digest(keys: Tensor, tokens: Tensor) -> str:
    """Return the sha256 of a block's keys (n, D) and tokens (n,)."""
    digest = hashlib.sha256(keys.contiguous().numpy().data)
    digest.update(tokens.contiguous().numpy().data)
    return digest.hexdigest()


def content_digest(digests: Sequence[str]) -> str:
    """Return the sha256 over those of all blocks."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_digests(folder: Path) -> list[str]:
    """Return the digests of the blocks that have been written, in order; one that was cut off is left out."""
    path = folder / DIGESTS
    lines = path.read_text(encoding="ascii", errors="replace").split("\n")[:-1] if path.is_file() else []
    return lines


Progress = Callable[[int, int], None]
"""Is told how many of how many entries are done."""
