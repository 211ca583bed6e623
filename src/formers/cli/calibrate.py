"""`formers calibrate`: a threshold of early exits that keeps a risk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from formers.cli import options
from formers.cli.say import say
from formers.cli.text_model import model_folder, split_ids, text_coder, text_model

if TYPE_CHECKING:
    from torch import Tensor

    from formers.models import CausalLM
    from formers.models.exit_calibration import ExitCalibration, Risk
    from formers.tasks.characters import Characters
    from formers.tasks.corpus.pieces import Pieces


def calibrate(
    folder: Annotated[Path, typer.Argument(help="A model's folder, or a study's that holds one model.")],
    delta: Annotated[float, typer.Option(help="The risk that is tolerated, between 0 and 1.")] = 0.1,
    epsilon: Annotated[float, typer.Option(help="The probability that it is exceeded all the same.")] = 0.05,
    risk: Annotated[str, typer.Option(help="disagreement with every layer, or excess_error of predictions.")] = (
        "disagreement"
    ),
    rule: Annotated[
        str | None,
        typer.Option(help="When tokens leave: margin, 'saturation(decay=4.0)', …", show_default="the model's own"),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="A UTF-8 text that the model was not trained on.", show_default="the plays' end")
    ] = None,
    length: Annotated[int, typer.Option(min=2, help="Characters in a window, or tokens of the tokenizer.")] = 128,
    windows: Annotated[int | None, typer.Option(min=1, help="How many windows to read.", show_default="all")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the model with the threshold found into this folder.")] = (
        None
    ),
    device: options.ModelDevice = "auto",
    parts: options.Parts = None,
) -> None:
    """Find the earliest exits that keep a risk within bounds. P(risk ≤ delta) ≥ 1 − epsilon (CALM, Learn then Test).

    \b
    formers train shakespeare computation=early_exit --folder my-model
    formers calibrate my-model --rule margin --delta 0.1 --output calibrated
    formers generate calibrated

    The model needs training with early_exit, so that every layer can predict. Windows of the validation text, the 5 %
    before the last of Shakespeare's plays, are read with thresholds from cautious to bold, up to the first that is not
    safe; those of the last 5 % show what the one before it comes to. Then some text is generated, and timed.
    """
    from formers.machine.device import choose_device
    from formers.machine.quiet_libraries import quiet_loading
    from formers.models.exit_calibration import calibrate_exits, set_threshold
    from formers.part import check_names

    check_names("--risk", [risk], ["disagreement", "excess_error"], word="risk")
    chosen, place = choose_device(device), model_folder(folder)
    coder = text_coder(place)
    model = _with_rule(text_model(place, coder).to(chosen), rule)
    validation, test = _windows(coder, text, length, windows)
    kind: Risk = "excess_error" if risk == "excess_error" else "disagreement"
    found = calibrate_exits(model, validation, delta=delta, epsilon=epsilon, risk=kind)
    _say_table(found)
    if found.chosen is None:
        raise ValueError(
            f"no threshold keeps a {risk} of {delta} with probability {1 - epsilon:g} on {found.sequences} windows; "
            "give a larger --delta, more text, or train every exit longer (early_exit)"
        )
    set_threshold(model, found.chosen.threshold)
    _say_check(model, found, test, length)
    if output is not None:
        with quiet_loading():
            model.save_pretrained(output)
        coder.save(output)
        say(f"wrote {output}: {model.config.computation}")


def _with_rule(model: CausalLM, rule: str | None) -> CausalLM:
    """Return the model with a rule in the place of its own, if one is given. Raise ValueError where it was not
    trained."""
    from formers.computation import EarlyExit, ExitRule
    from formers.models import CausalLM, convert_weights

    if rule is None:
        return model
    part, wanted = model.config.computation, ExitRule.parse(rule)
    if not isinstance(part, EarlyExit):
        raise ValueError(
            f"the model has computation={part}, so that no layer but the last has learnt to predict; train one with "
            "computation=early_exit"
        )
    changed = convert_weights(model, model.config.swap(computation=part.swap(rule=wanted)), strict=True).model
    assert isinstance(changed, CausalLM)
    return changed.eval()


def _windows(coder: Characters | Pieces, text: Path | None, length: int, count: int | None) -> tuple[Tensor, Tensor]:
    """Return windows of the text to calibrate on, and of another part of it to check, (n, length) each."""
    parts = split_ids(coder, text)
    validation, test = parts["validation"], parts["test"]
    if text is not None:
        ids = parts["all"]
        validation, test = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    if min(len(validation), len(test)) < length:
        raise ValueError(f"the text is too short for windows of {length} {coder.unit}s; give a longer one, or --length")
    whole = [part[: len(part) // length * length].view(-1, length) for part in (validation, test)]
    return whole[0][:count], whole[1][:count]


def _say_table(found: ExitCalibration) -> None:
    """Print the thresholds that were tried."""
    say(f"{found.sequences} windows; δ = {found.delta:g}, ε = {found.epsilon:g}")
    say(f"{'threshold':>9} {found.risk:>13} {'p':>9} {'layers':>7}")
    for one in found.candidates:
        mark = "" if one.test.rejected else "   not safe"
        say(f"{one.threshold:>9.4f} {one.test.risk:>13.4f} {one.test.p_value:>9.2g} {one.layers:>7.2f}{mark}")


def _say_check(model: CausalLM, found: ExitCalibration, test: Tensor, length: int) -> None:
    """Print what the chosen threshold comes to on other text, and in generation."""
    from formers.models.exit_calibration import exit_losses
    from formers.models.exit_comparison import compare_generation

    assert found.chosen is not None
    losses = next(iter(exit_losses(model, test, [found.chosen.threshold])))
    say(
        f"threshold {found.chosen.threshold:g}: on {len(test)} other windows {found.risk} "
        f"{float(losses.of(found.risk).mean()):.4f}, {float(losses.layers_n.mean()):.2f} of {model.config.depth} layers"
    )
    prompts = test[:: max(1, len(test) // 4)][:4, : max(1, length // 4)]
    compared = compare_generation(model, prompts, tokens=min(100, length - prompts.shape[1]) or 1)
    say(
        f"generation: {compared.speed_up:.2f} times as fast with {compared.layers:.2f} layers, "
        f"{compared.consistency:.0%} like that of every layer"
    )
