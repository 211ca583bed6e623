"""A datastore holds the model's representations; what is half-written, damaged, foreign or another model's raises."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from torch import Tensor

from formers.models import CausalLM
from formers.part import Unsupported
from formers.retrieval import Datastore, Reading, build_datastore
from formers.retrieval.representations import tapped

READING = Reading(length=16)


def test_keys_are_what_enters_the_last_feed_forward(model: CausalLM, ids: Tensor, store: Datastore) -> None:
    assert len(store) == len(ids) - 1
    assert torch.equal(store.tokens, ids[1:].int())
    window = ids[15:31][None]  # the second window of 16 that overlaps by one
    with torch.no_grad():
        hidden = model(input_ids=window, output_hidden_states=True).hidden_states
        last = model.model.layers[-1]
        mixed, _ = last.mixer(last.mixer_norm(hidden[-2]))
        expected = last.ffn_norm(hidden[-2] + mixed)[0]
    torch.testing.assert_close(store.keys[15:30], expected[:-1])


def test_keys_may_be_the_hidden_state(model: CausalLM, ids: Tensor, tmp_path: Path) -> None:
    store = build_datastore(model, ids, tmp_path / "store", READING, key="hidden", dtype="float32")
    with torch.no_grad():
        expected = model.model(ids[:16][None]).last_hidden_state[0, :-1]
    torch.testing.assert_close(store.keys[:15], expected)


def test_a_memory_mapped_text_gives_the_same(model: CausalLM, ids: Tensor, store: Datastore, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    numpy.save(tmp_path / "text.npy", ids.numpy().astype("int16"))
    mapped = torch.from_numpy(numpy.load(tmp_path / "text.npy", mmap_mode="c"))
    other = build_datastore(model, mapped, tmp_path / "other", READING, dtype="float32", block=100)
    assert other.header == store.header


def test_a_finished_build_is_returned_and_others_are_refused(
    model: CausalLM, ids: Tensor, store: Datastore, tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    folder = store.folder
    again = build_datastore(
        model, ids, folder, READING, dtype="float32", block=100, progress=lambda *done: calls.append(done)
    )
    assert again.header == store.header
    assert calls == []
    with pytest.raises(ValueError, match=r"made otherwise: length is 16, not 8"):
        build_datastore(model, ids, folder, Reading(length=8), dtype="float32", block=100)
    with pytest.raises(ValueError, match="corpus is"):
        build_datastore(model, ids.flip(0), folder, READING, dtype="float32", block=100)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"holds thesis\.txt, and no datastore"):
        build_datastore(model, ids, tmp_path / "full", READING)
    with pytest.raises(ValueError, match=r"tokens from 0 to 11, but the model knows 0 to 10"):
        build_datastore(model, ids.clamp(max=9).add((ids == 10) * 2), tmp_path / "new", READING)
    with torch.no_grad():
        model.model.layers[-1].ffn_norm.weight.mul_(1e6)
    with pytest.raises(ValueError, match="not finite in float16"):
        build_datastore(model, ids, tmp_path / "huge", READING)


def build_slowly(model: CausalLM, ids: Tensor, folder: Path, told: Connection) -> None:
    """Build, and say after each block how far it is."""

    def progress(done: int, total: int) -> None:
        told.send(done)
        time.sleep(0.2)

    build_datastore(model, ids, folder, READING, dtype="float32", block=100, progress=progress)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the child process is a fork")
def test_a_killed_build_goes_on(model: CausalLM, ids: Tensor, store: Datastore, tmp_path: Path) -> None:
    place, (hear, told) = tmp_path / "killed", Pipe()
    child = get_context("fork").Process(target=build_slowly, args=(model, ids, place, told))
    child.start()
    while hear.recv() < 200:
        pass
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    with pytest.raises(ValueError, match=r"half-written: \d of 7 blocks"):
        Datastore.open(place)
    done: list[int] = []
    whole = build_datastore(
        model, ids, place, READING, dtype="float32", block=100, progress=lambda count, total: done.append(count)
    )
    assert done[0] >= 200
    assert whole.header == store.header
    assert (place / "keys.npy").read_bytes() == (store.folder / "keys.npy").read_bytes()


def test_a_block_that_was_not_whole_is_made_again(model: CausalLM, ids: Tensor, store: Datastore) -> None:
    (store.folder / "datastore.json").write_text("{}")
    replace(store.header, content="").write(store.folder)
    flip(store.folder / "keys.npy", 128 + 250 * 24 * 4)
    done: list[int] = []
    build_datastore(
        model, ids, store.folder, READING, dtype="float32", block=100, progress=lambda count, total: done.append(count)
    )
    assert done[0] == 200
    assert Datastore.open(store.folder, model).header == store.header


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def edit(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"entries": 12}))


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda f: flip(f / "keys.npy", 5000), r"damaged: the entries 0 to 99 changed"),
        (lambda f: flip(f / "tokens.npy", 129 + 4 * 450), r"damaged: the entries 400 to 499 changed"),
        (lambda f: cut(f / "keys.npy"), "damaged or cut short"),
        (lambda f: cut(f / "blocks.sha256"), "blocks.sha256 is damaged"),
        (lambda f: edit(f / "datastore.json"), "does not fit its sha256"),
        (lambda f: (f / "datastore.json").write_text("[1"), "no JSON"),
        (lambda f: (f / "datastore.json").write_text("{}"), "version None"),
        (lambda f: (f / "tokens.npy").write_bytes((f / "keys.npy").read_bytes()), "int32 .* was expected"),
        (lambda f: (f / "keys.npy").write_bytes(b"\x80\x04pickle"), "damaged or cut short"),
    ],
)
def test_damage_is_an_error(store: Datastore, damage: Callable[[Path], object], error: str) -> None:
    damage(store.folder)
    with pytest.raises(ValueError, match=error):
        Datastore.open(store.folder)


def test_missing_files_and_other_models_are_errors(model: CausalLM, store: Datastore, tmp_path: Path) -> None:
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="made with another model"):
        Datastore.open(store.folder, CausalLM(model.config))
    with pytest.raises(FileNotFoundError, match="holds no datastore"):
        Datastore.open(tmp_path)
    (store.folder / "tokens.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokens\.npy is missing"):
        Datastore.open(store.folder)


def test_two_builds_do_not_share_a_folder(model: CausalLM, ids: Tensor, tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        with pytest.raises(OSError, match="another process builds"):
            build_datastore(model, ids, tmp_path / "store", READING)

    build_datastore(model, ids, tmp_path / "store", READING, progress=progress)


def test_a_layer_that_does_not_see_every_token_is_refused(model: CausalLM) -> None:
    with tapped(model, "ffn_input") as tap:
        model.model.layers[-1].ffn(torch.zeros(1, 3, 24))
    with pytest.raises(Unsupported, match="take key='hidden'"):
        tap.keys((1, 5))
