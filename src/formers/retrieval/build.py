"""Building a datastore: a stream of blocks, each on the disk before the next one begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from formers.machine.files import write_atomically
from formers.models import CausalLM
from formers.part import evaluating
from formers.retrieval.datastore import (
    DIGESTS,
    KEYS,
    TOKENS,
    Datastore,
    Progress,
    block_digest,
    content_digest,
    map_files,
    read_digests,
)
from formers.retrieval.fingerprint import corpus_hash, model_hash
from formers.retrieval.header import FILE, Header, KeyDtype
from formers.retrieval.reading import Reading
from formers.retrieval.representations import Key, represent

_LOCK = ".lock"


def build_datastore(
    model: CausalLM,
    ids: Tensor,
    folder: Path | str,
    reading: Reading,
    *,
    key: Key = "ffn_input",
    dtype: KeyDtype = "float16",
    block: int = 1 << 16,
    progress: Progress = lambda done, total: None,
) -> Datastore:
    """Return a datastore over a text: for each token but the first, the model's representation of what precedes it.

    The files are written block by block and need no more memory than a block. A build that was stopped, or killed, at
    any moment goes on from its last whole block when it is called again with the same arguments; one that is finished
    is returned as it is.

    Args:
        model: the model; it is put into eval mode meanwhile.
        ids: the text, (N + 1,), integers; `torch.from_numpy` of a memory-mapped file is read piece by piece.
        folder: where it goes; made if there is none.
        reading: how the model reads the text.
        key: which representation.
        dtype: of the keys on the disk.
        block: entries that are written at a time.
        progress: is told how many entries are done.

    Raises:
        ValueError: where the folder holds something else, or a datastore with other arguments; where a key is not
            finite in `dtype`; and for a token that the model does not know.
        OSError: where another process builds there, or the disk has no room.
    """
    folder = Path(folder)
    header = _header(model, ids, reading, key, dtype, block)
    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if _begin(folder, header):
            return Datastore.open(folder)
        with evaluating(model):
            _write_blocks(model, ids, folder, header, progress)
        replace(header, content=content_digest(read_digests(folder))).write(folder)
    return Datastore.open(folder)


def _header(model: CausalLM, ids: Tensor, reading: Reading, key: Key, dtype: KeyDtype, block: int) -> Header:
    """Return the header of the datastore to be; the width of its keys is found by asking the model."""
    if block < 1:
        raise ValueError(f"block must be at least 1, but {block} was given")
    entries, vocab_size = reading.count(ids), model.config.vocab_size
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        raise ValueError(f"the text has tokens from {low} to {high}, but the model knows 0 to {vocab_size - 1}")
    with evaluating(model):
        keys, _ = represent(model, ids[None, :1].long(), key)
    return Header(
        model=model_hash(model),
        corpus=corpus_hash(ids),
        key=key,
        dtype=dtype,
        entries=entries,
        width=keys.shape[-1],
        vocab_size=vocab_size,
        length=reading.length,
        context=reading.context,
        block=block,
    )


def _check_folder(folder: Path) -> None:
    """Raise ValueError for a folder that holds something, and no datastore."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder for the datastore")
    others = [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []
    if others and FILE not in others:
        raise ValueError(f"{folder} holds {sorted(others)[0]}, and no datastore; give a new or an empty folder")


def _begin(folder: Path, header: Header) -> bool:
    """Make the files, or check those that are there; return whether the datastore is finished."""
    if (folder / FILE).exists():
        there = Header.read(folder)
        if differences := there.differences(header):
            raise ValueError(
                f"{folder} holds a datastore that was made otherwise: {'; '.join(differences)}. Give another folder, "
                "or remove this one"
            )
        return there.finished
    needed = header.entries * (header.width * np.dtype(header.dtype).itemsize + 4)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(f"{folder}: the datastore takes {needed:,} bytes, and {free:,} are free; choose another disk")
    header.write(folder)
    return False


def _make_files(folder: Path, header: Header) -> None:
    """Make files of the final size, whose pages take no room before they are written; the digests' file comes last."""
    np.lib.format.open_memmap(folder / KEYS, "w+", header.dtype, (header.entries, header.width))
    np.lib.format.open_memmap(folder / TOKENS, "w+", "int32", (header.entries,))
    (folder / DIGESTS).write_bytes(b"")


def _write_blocks(model: CausalLM, ids: Tensor, folder: Path, header: Header, progress: Progress) -> None:
    """Write the blocks that are not there yet."""
    if not (folder / DIGESTS).exists():
        _make_files(folder, header)
    digests = _whole_blocks(folder, header)
    write_atomically(folder / DIGESTS, "".join(f"{digest}\n" for digest in digests))
    for block in range(len(digests), header.blocks):
        start, stop = header.range_of(block)
        progress(start, header.entries)
        keys, tokens = _read_block(model, ids, header, start, stop)
        _write_rows(folder / KEYS, start, keys)
        _write_rows(folder / TOKENS, start, tokens)
        with (folder / DIGESTS).open("a", encoding="ascii") as file:
            file.write(f"{block_digest(keys, tokens)}\n")
            file.flush()
            os.fsync(file.fileno())
    progress(header.entries, header.entries)


def _whole_blocks(folder: Path, header: Header) -> list[str]:
    """Return the digests of the blocks, from the first one on, that are on the disk as they were written."""
    keys, tokens = map_files(folder, header)
    whole: list[str] = []
    for block, digest in enumerate(read_digests(folder)[: header.blocks]):
        start, stop = header.range_of(block)
        if block_digest(keys[start:stop], tokens[start:stop]) != digest:
            break
        whole.append(digest)
    return whole


def _read_block(model: CausalLM, ids: Tensor, header: Header, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Return the keys (n, D) and tokens (n,) of a block. Raise ValueError for a key that is not finite in its dtype."""
    keys, tokens = [], []
    for batch in Reading(length=header.length, context=header.context).batches(ids, start, stop):
        found, _ = represent(model, batch.ids_bl, header.key)
        keys.append(batch.at(found).to("cpu", getattr(torch, header.dtype)))
        tokens.append(batch.targets.int())
        if not bool(keys[-1].isfinite().all()):
            raise ValueError(
                f"keys are not finite in {header.dtype}; take dtype='float32', and a model whose weights are finite"
            )
    return torch.cat(keys), torch.cat(tokens)


def _write_rows(path: Path, start: int, rows: Tensor) -> None:
    """Write rows into a file of an array, from row `start` on, and return once they are on the disk."""
    array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    with path.open("r+b") as file:
        file.seek(array.offset + start * array.strides[0])
        file.write(rows.contiguous().numpy().data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the block runs. Raise OSError where another process builds there."""
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OSError(f"another process builds a datastore in {folder}; wait for it, or give another folder") from None
    try:
        yield
    finally:
        lock.release()
