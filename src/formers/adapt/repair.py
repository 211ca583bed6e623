"""Repair of a model after a swap: new mixers are taught by the old ones, then the whole model by the old model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax
from torch.utils.checkpoint import checkpoint

from formers.adapt.attention_transfer import mixers_of, own_weights, taught_layers, transfer_losses
from formers.adapt.lora import LoraOptions, add_lora, merge_lora
from formers.adapt.repair_trainer import Repair
from formers.adapt.swap_costs import Progress
from formers.lab.study.budget import Budget
from formers.models import CausalLM
from formers.models.pretrained import FormersModel

_CHUNK = 256
"""Tokens whose scores of the whole vocabulary are held at a time."""


def transfer_attention(
    teacher: FormersModel, student: FormersModel, ids_nl: Tensor, folder: Path, budget: Budget, *, seed: int = 0
) -> list[float]:
    """Teach the student's new mixers what the teacher's attention does, all at once; return the losses on the way.

        student = convert(teacher, "linear(feature=hedgehog)").model
        transfer_attention(teacher, student, ids, Path("repair/transfer"), Budget(steps=500, batch_size=4))

    Only mixers that are not the teacher's change, in place; the loss is the mean of `transfer_losses`. A call that was
    stopped goes on where its last checkpoint in `folder` is, given both models as they were at its beginning. Each step
    runs the whole teacher: `stream_transfer`, for models whose layers run one after the other, takes a fraction of
    that, and less memory.

    Args:
        ids_nl: rows of tokens, (N, L); they are read in an order that the seed gives, again when they are through.
    """
    layers = taught_layers(teacher, student)
    taught = {id(p) for mixer in mixers_of(student, layers).values() for p in mixer.parameters()}

    def loss(teacher: FormersModel, student: FormersModel, ids_bl: Tensor) -> Tensor:
        return torch.stack(list(transfer_losses(teacher, student, ids_bl).values())).mean()

    wanted = {name: p.requires_grad for name, p in student.named_parameters()}
    for parameter in student.parameters():
        parameter.requires_grad_(id(parameter) in taught)
    try:
        return Repair(teacher, student, loss, folder, budget, {"loss": "transfer"}).run(ids_nl, seed)
    finally:
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(wanted[name])


def distill(
    teacher: FormersModel,
    student: FormersModel,
    ids_nl: Tensor,
    folder: Path,
    budget: Budget,
    *,
    seed: int = 0,
    lora: LoraOptions | None = None,
    held_out_nl: Tensor | None = None,
    bf16: bool = False,
    progress: Progress | None = None,
) -> list[float]:
    """Train the student to predict what the teacher predicts; return the losses on the way.

    The loss is KL(teacher‖student) of the next token, in nats, mean over tokens. Scores of the vocabulary are held for
    256 tokens at a time, and made again in the backward pass. Other facts as in `transfer_attention`.

    Args:
        lora: adapters that are trained instead of the weights, and merged into them at the end; the features that new
            mixers learn are trained beside. None: all weights.
        held_out_nl: rows to choose the best weights by, as often as the budget evaluates; without, the last are kept.
        bf16: whether products are made in bfloat16 (autocast), at half the time where the machine has it.
        progress: called after each step.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    about = {"loss": "divergence", "lora": None if lora is None else asdict(lora)}
    repair = Repair(
        teacher, student, divergence, folder, budget, about, held_out_nl=held_out_nl, bf16=bf16, progress=progress
    )
    wanted = {name: p.requires_grad for name, p in student.named_parameters()}
    features = _new_features(teacher, student) if lora is not None else []
    if lora is not None:
        add_lora(student, lora)
        for parameter in features:
            parameter.requires_grad_(True)
    try:
        return repair.run(ids_nl, seed)
    finally:
        if lora is not None:
            merge_lora(student)
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(wanted[name])


def divergence(teacher: FormersModel, student: FormersModel, ids_bl: Tensor) -> Tensor:
    """Return KL(teacher‖student) of the next token in nats, mean over tokens (B, L)."""
    if not (_scores_token_by_token(teacher) and _scores_token_by_token(student)):
        with torch.no_grad():
            want = teacher(input_ids=ids_bl, use_cache=False).logits
        return _summed(student(input_ids=ids_bl, use_cache=False).logits, want) / ids_bl.numel()
    heads = student.get_output_embeddings(), teacher.get_output_embeddings()
    with torch.no_grad():
        theirs = teacher.base_model(input_ids=ids_bl, use_cache=False).last_hidden_state.flatten(0, 1)
    ours = student.base_model(input_ids=ids_bl, use_cache=False).last_hidden_state.flatten(0, 1)
    pieces = zip(ours.split(_CHUNK), theirs.split(_CHUNK), strict=True)
    if not torch.is_grad_enabled() or any(p.requires_grad for p in heads[0].parameters()):
        losses = [checkpoint(_scored, *heads, x, y, use_reentrant=False) for x, y in pieces]
    else:
        losses = [_WithGradient.apply(x, y, *heads) for x, y in pieces]
    return torch.stack(losses).sum() / ids_bl.numel()


class _WithGradient(torch.autograd.Function):
    """`_scored` of a head that does not learn: the gradient is made at once, so that scores are made only once."""

    @staticmethod
    def forward(ctx: Any, x_nd: Tensor, theirs_nd: Tensor, head: nn.Module, their_head: nn.Module) -> Tensor:
        """Return the loss, and keep its gradient."""
        with torch.enable_grad():
            x = x_nd.detach().requires_grad_()
            loss = _scored(head, their_head, x, theirs_nd)
        (gradient,) = torch.autograd.grad(loss, x)
        ctx.save_for_backward(gradient)
        return loss.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient that was kept."""
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None, None


def _scored(head: nn.Module, their_head: nn.Module, x_nd: Tensor, theirs_nd: Tensor) -> Tensor:
    with torch.no_grad():
        want = their_head(theirs_nd)
    return _summed(head(x_nd), want)


def _summed(logits: Tensor, want: Tensor) -> Tensor:
    got, want = (log_softmax(scores.float(), -1).flatten(0, -2) for scores in (logits, want))
    return kl_div(got, want, log_target=True, reduction="sum")


def _scores_token_by_token(model: FormersModel) -> bool:
    """Return whether the scores of a token are its last hidden state times the head, and nothing else."""
    return isinstance(model, CausalLM) and type(model).score is CausalLM.score and model.exits is None


def _new_features(teacher: FormersModel, student: FormersModel) -> list[nn.Parameter]:
    """Return the weights of the student's new mixers that no linear layer holds, such as those of feature maps."""
    mixers = mixers_of(student, taught_layers(teacher, student)).values()
    return [p for mixer in mixers for p in own_weights(mixer)]
