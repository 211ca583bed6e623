"""Attention transfer through files: the teacher runs once, layer by layer, and each new mixer learns on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from formers.adapt.attention_transfer import mixers_of, own_weights, relative_error, taught_layers
from formers.adapt.json_lines import JsonLines, hash_of_model, hash_of_tokens
from formers.adapt.swap_costs import Progress
from formers.adapt.trained_weights import load_weights, save_weights
from formers.lab.study.budget import Budget
from formers.machine.files import flush_to_disk
from formers.models import Transformer
from formers.models.pretrained import FormersModel
from formers.part import Unsupported, seeded
from formers.residuals import Block

_ROWS = 4
"""Rows that run through a layer at a time between the trainings."""
_LOGGED = 10
"""Losses along the training of a layer."""
_PROJECTIONS = 0.1
"""The learning rate of projections as a part of that of features, which start from nothing."""
_COMPARED = 4
"""Rows that say whether a mixer has come nearer to the teacher's."""


def stream_transfer(
    teacher: FormersModel,
    student: FormersModel,
    ids_nl: Tensor,
    folder: Path,
    budget: Budget,
    *,
    seed: int = 0,
    bf16: bool = False,
    progress: Progress | None = None,
) -> dict[int, list[float]]:
    """Teach the student's new mixers, one layer after the other; return layer → losses on the way.

        stream_transfer(teacher, student, ids, Path("repair/transfer"), Budget(steps=100, batch_size=2))

    Each mixer learns what the teacher's attention makes of the hidden states that enter it there, as in
    `transfer_losses`. These wait in a file of `folder`: of one layer for all tokens at a time, so that the teacher runs
    once over the text, however often it is read, and memory holds one mixer's gradients. A call that was stopped goes
    on at the layer that it was in, to the same weights. It runs on the student's device, where the teacher goes, too.

    Args:
        ids_nl: rows of tokens, (N, L).
        budget: of each layer; features learn at its rate, projections at a tenth of it. Its steps read rows in an order
            that the seed gives, again when they are through.
        bf16: whether products are made in bfloat16 (autocast), at half the time where the machine has it.
        progress: called after each step, of all layers.

    Cost: a pass of the teacher over the text, and steps·batch_size rows through the two mixers of each taught layer.
    Disk: 2·N·L·D numbers.
    Raise Unsupported for a teacher whose layers do not run one after the other; ValueError for another call's folder.
    """
    layers = taught_layers(teacher, student)
    teacher.to(student.device)  # its hidden states go through the student's mixers
    stream = _HiddenStates(teacher, ids_nl, folder, bf16)
    header: dict[str, Any] = {"teacher": hash_of_model(teacher), "student": hash_of_model(student)}
    header |= {"tokens": hash_of_tokens(ids_nl), "layers": layers, "budget": asdict(budget), "seed": seed, "bf16": bf16}
    done = JsonLines(folder / "layers.jsonl", header, "another repair")
    if done.is_new:
        stream.remove()  # hidden states without the file that says whose they are
    losses: dict[int, list[float]] = {line["layer"]: line["losses"] for line in done.lines}
    mixers = mixers_of(student, layers)
    for number, layer in enumerate(layers):
        file = folder / f"layer-{layer:03}.safetensors"
        if layer in losses:
            load_weights(mixers[layer], file)
        else:
            training = _LayerTraining(stream, layer, mixers[layer], budget, seed + layer)
            losses[layer] = []
            for step, loss in enumerate(training.losses()):
                losses[layer].append(loss)
                if progress is not None:
                    progress(number * budget.steps + step + 1, len(layers) * budget.steps)
            losses[layer] = _thinned(losses[layer])
            save_weights(dict(mixers[layer].named_parameters()), file, {})
            done.add({"layer": layer, "losses": losses[layer]})
    stream.remove()
    student.eval()
    return losses


class _HiddenStates:
    """The hidden states that enter a layer of a model, for all rows, in a file; they move from layer to layer."""

    def __init__(self, model: FormersModel, ids_nl: Tensor, folder: Path, bf16: bool):
        backbone = model if isinstance(model, Transformer) else model.base_model
        assert isinstance(backbone, Transformer)
        self.backbone, self.layers = backbone.eval(), backbone.separate_layers()
        if not self.layers:
            raise Unsupported(
                f"{model.config.residual} with {model.config.computation} runs no layers of their own one after the "
                "other; use transfer_attention, which runs the whole teacher in every step"
            )
        self.ids_nl, self.folder, self.bf16 = ids_nl, folder, bf16
        self.positions_bl = torch.arange(ids_nl.shape[1], device=model.device)[None]
        folder.mkdir(parents=True, exist_ok=True)

    def at(self, layer: int) -> Tensor:
        """Return the hidden states that enter a layer, (N, L, D), as they lie in their file."""
        known = [n for n in range(layer + 1) if self._path(n).exists()]
        if not known:
            self._write(0, self._embedded())
        for before in range(max(known, default=0), layer):
            self._write(before + 1, self._through(before))
            self._path(before).unlink()
        return self._open(self._path(layer))

    def precision(self) -> torch.autocast:
        """Return the context that layers run in."""
        return torch.autocast(self.backbone.device.type, torch.bfloat16, enabled=self.bf16)

    def remove(self) -> None:
        """Remove the files."""
        for path in self.folder.glob("hidden-*"):
            path.unlink()

    @torch.no_grad()
    def _embedded(self) -> Iterator[Tensor]:
        model = self.backbone
        for ids in self.ids_nl.split(_ROWS):
            x = model.embedded(ids.to(model.device))
            yield model.computation.wiring.enter(model.entering(x, self.positions_bl))

    @torch.no_grad()
    def _through(self, layer: int) -> Iterator[Tensor]:
        for x in self._open(self._path(layer)).split(_ROWS):
            with self.precision():
                y, _ = self.layers[layer](x.to(self.backbone.device), None, positions_bl=self.positions_bl)
            yield y

    def _write(self, layer: int, pieces: Iterator[Tensor]) -> None:
        part = self._path(layer).with_suffix(".part")
        part.unlink(missing_ok=True)
        target, row = self._open(part), 0
        for piece in pieces:
            target[row : row + len(piece)].copy_(piece)
            row += len(piece)
        flush_to_disk(part)
        part.replace(self._path(layer))

    def _open(self, path: Path) -> Tensor:
        """Return a file of the right size as a tensor; it is made where there is none."""
        shape = (*self.ids_nl.shape, self.backbone.config.width)
        return torch.from_file(str(path), shared=True, size=math.prod(shape), dtype=self.backbone.dtype).view(shape)

    def _path(self, layer: int) -> Path:
        return self.folder / f"hidden-{layer:03}.bin"


class _LayerTraining:
    """The training of one mixer on what the teacher's does there: AdamW, a warm-up, then a cosine down to zero.

    A mixer that ends up farther from the teacher's than it began, on the rows that are read last, is put back.
    """

    def __init__(self, stream: _HiddenStates, layer: int, mixer: nn.Module, budget: Budget, seed: int):
        self.x_nld, self.positions_bl, self.device = stream.at(layer), stream.positions_bl, stream.backbone.device
        self.precision = stream.precision
        self.block: Block = stream.layers[layer]
        self.mixer, self.budget, self.seed = mixer, budget, seed

    def losses(self) -> Iterator[float]:
        """Train, and give the loss of each step."""
        budget, mixer = self.budget, self.mixer.train()
        with seeded(self.seed, self.device):
            order = torch.randperm(len(self.x_nld))
            parameters: list[Tensor] = [*mixer.parameters()]
            last = order[-_COMPARED:]
            began, start = self._error(last), [p.detach().clone() for p in parameters]
            optimizer = torch.optim.AdamW(_groups(mixer, budget), lr=budget.learning_rate)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
            for step in range(budget.steps):
                rows = torch.arange(step * budget.batch_size, (step + 1) * budget.batch_size) % len(order)
                with self.precision():
                    loss = self._loss(self.x_nld[order[rows]].to(self.device))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, budget.clip)
                optimizer.step()
                schedule.step()
                yield float(loss.detach())
        if not self._error(last) <= began:
            with torch.no_grad():
                torch._foreach_copy_(parameters, start)
        mixer.eval()

    def _error(self, rows: Tensor) -> float:
        """Return the loss on some rows, without training."""
        self.mixer.eval()
        with torch.no_grad(), self.precision():
            total = sum(float(self._loss(self.x_nld[row][None].to(self.device))) for row in rows)
        self.mixer.train()
        return total

    def _loss(self, x_bld: Tensor) -> Tensor:
        with torch.no_grad():
            given = self.block.mixer_input(x_bld)
            want, _ = self.block.mixer(given, None, positions_bl=self.positions_bl, keep_state=False)
        got, _ = self.mixer(given, None, positions_bl=self.positions_bl, keep_state=False)
        return relative_error(got, want)

    def _rate(self, step: int) -> float:
        warmup = round(self.budget.warmup * self.budget.steps)
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.budget.steps - warmup)))


def _groups(mixer: nn.Module, budget: Budget) -> list[dict[str, Any]]:
    """Return the weights by what they start as: features that are new, and projections that the teacher has trained."""
    new = {id(p) for p in own_weights(mixer)}
    groups = []
    for is_new, rate in ((True, 1.0), (False, _PROJECTIONS)):
        for decays in (True, False):
            held = [p for p in mixer.parameters() if (id(p) in new) == is_new and (p.dim() > 1) == decays]
            decay = budget.weight_decay if decays and not is_new else 0.0
            groups.append({"params": held, "lr": rate * budget.learning_rate, "weight_decay": decay})
    return [group for group in groups if group["params"]]


def _thinned(losses: list[float]) -> list[float]:
    """Return means over tenths of the losses."""
    size = max(1, len(losses) // _LOGGED)
    pieces = [losses[i : i + size] for i in range(0, len(losses), size)]
    return [sum(piece) / len(piece) for piece in pieces]
