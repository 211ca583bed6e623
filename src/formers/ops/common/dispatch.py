"""The choice between the forms of an op: the one asked for, or, with "auto", the first on the device's list that can.

Each op makes one `Forms` beside its public function. A form says for which inputs it cannot run
(`unsupported_reasons`); the preference lists, fastest first, which forms "auto" tries on a device. A kernel for
another device (Triton on "cuda", say) is a file beside the others in the op's folder and one more `Form`, at the head
of that device's list:

    _FORMS: Forms[AttentionInputs, Tensor] = Forms(
        "attention",
        Form("triton", triton.attention, triton.unsupported_reasons),
        Form("torch", fused.attention),
        Form("naive", naive.attention),
        preference={"cpu": ["torch"], "cuda": ["triton", "torch"]},
    )
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch

Inputs = TypeVar("Inputs", bound=tuple[Any, ...])
Result = TypeVar("Result")
_log = logging.getLogger("formers.ops")


def no_reasons(inputs: tuple[Any, ...]) -> list[str]:
    """Return no reasons: for a form that takes whatever its op takes."""
    return []


@dataclass(frozen=True)
class Form(Generic[Inputs, Result]):
    """One implementation of an op.

    Attributes:
        name: what `impl=` calls it: "naive" from the formula, "torch", "flex", "triton", …
        run: the function; it takes the fields of the op's inputs, in order.
        unsupported_reasons: takes the op's inputs (a NamedTuple) and returns why the form cannot run on them, a
            sentence each; none if it can. It runs on every call: no tensor is read, and nothing waits for the device.
        slow_reasons: the same, why "auto" passes the form over for a faster one, although it can run. The last form of
            a preference list should have none.
    """

    name: str
    run: Callable[..., Result]
    unsupported_reasons: Callable[[Inputs], list[str]] = no_reasons
    slow_reasons: Callable[[Inputs], list[str]] = no_reasons


class Forms(Generic[Inputs, Result]):
    """The forms of one op and, for each type of device, the order in which "auto" tries them.

    Args:
        op: the op's name, for messages.
        forms: its implementations.
        preference: device type → names of forms, fastest first. Devices that are not listed use the order of "cpu". A
            form on no list runs on request only.

    Raises ValueError for a preference that names no form.
    """

    registry: ClassVar[dict[str, Forms[Any, Any]]] = {}
    "Every op's forms, by its name."

    def __init__(self, op: str, *forms: Form[Inputs, Result], preference: Mapping[str, Sequence[str]]):
        self.op = op
        self.forms = {form.name: form for form in forms}
        self.preference = {device: tuple(names) for device, names in preference.items()}
        unknown = {name for names in self.preference.values() for name in names} - self.forms.keys()
        if unknown:
            raise ValueError(f"{op}: the preference names {sorted(unknown)}; the forms are {', '.join(self.forms)}")
        if "cpu" not in self.preference:
            raise ValueError(f"{op}: the preference has no list for 'cpu', which other devices fall back on")
        Forms.registry[op] = self

    def run(self, impl: str, inputs: Inputs, device: torch.device) -> Result:
        """Return what the chosen form makes of the inputs. Raise ValueError as `choose` does."""
        return self.choose(impl, inputs, device).run(*inputs)

    def choose(self, impl: str, inputs: Inputs, device: torch.device) -> Form[Inputs, Result]:
        """Return the form named `impl`; for "auto" the first of the device's list without a reason against it, logged.

        Raise ValueError, with the reasons, for a name that is unknown, a form that cannot run on these inputs, or
        inputs on which no form of the list can.
        """
        if impl != "auto":
            return self._named(impl, inputs)
        against = []
        for name in self.preference.get(device.type, self.preference["cpu"]):
            form = self.forms[name]
            reasons = form.unsupported_reasons(inputs) or form.slow_reasons(inputs)
            if not reasons:
                if not torch.compiler.is_compiling():  # a log call would break the graph
                    _log.debug("%s: auto chose impl %r", self.op, name)
                return form
            against.append(f"{name}: {'; '.join(reasons)}")
        raise ValueError(f"{self.op} has no form on {device.type} for these inputs: {'. '.join(against)}")

    def _named(self, impl: str, inputs: Inputs) -> Form[Inputs, Result]:
        if impl not in self.forms:
            raise ValueError(f"{self.op} has no impl {impl!r}; available: 'auto', {', '.join(map(repr, self.forms))}")
        form = self.forms[impl]
        if reasons := form.unsupported_reasons(inputs):
            raise ValueError(f"{self.op}: impl {impl!r} cannot run on these inputs: {'; '.join(reasons)}")
        return form


class FormEntry(NamedTuple):
    """A line of the table of forms.

    Attributes:
        op, form: their names.
        order: device type → at which place "auto" tries the form there, 1 being the first; empty if it runs on request
            only.
    """

    op: str
    form: str
    order: dict[str, int]


def forms_table() -> list[FormEntry]:
    """Return every form of every op that has been imported, by op, the fastest on a CPU first."""
    entries = [
        FormEntry(
            op, name, {device: names.index(name) + 1 for device, names in forms.preference.items() if name in names}
        )
        for op, forms in Forms.registry.items()
        for name in forms.forms
    ]
    return sorted(entries, key=lambda entry: (entry.op, entry.order.get("cpu", len(entries))))
