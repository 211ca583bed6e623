"""The plan of a benchmark: subjects, sizes, phases, rounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from formers.bench.phases import PHASES, Phase
from formers.bench.sizes import AXES, Sweep, size_text
from formers.bench.subjects.parse import parse_subject, parse_subjects
from formers.bench.subjects.subject import Subject
from formers.machine.shell import command_line
from formers.part import check_names

_CAUSAL = ("softmax", "sdpa", "linear", "performer", "dense", "sparse(pattern=window(128))", "lsh")
_BIDIRECTIONAL = ("softmax", "sdpa", "linear", "performer", "sparse(pattern=window(128))", "linformer", "fourier")
_BRIEF = ("softmax", "sdpa", "linear", "performer", "sparse(pattern=window(128))")
_REFERENCE = "softmax"
FIXED_LENGTH = 1024
"The length where another size varies."
QUICK_LENGTHS = (256, 512, 1024, 2048)
QUICK_PHASES: tuple[Phase, ...] = ("forward", "training", "step")
QUICK_ROUNDS, QUICK_SECONDS = 6, 30.0
"`--quick` takes less than a minute on two cores; six rounds are the fewest with a 95 % interval."
DTYPES = ("float32", "bfloat16", "float16")
MIN_ROUNDS = 3
"Rounds that are made however long they take."


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """Subjects to time, at which sizes, in which phases, and how often.

    Attributes:
        subjects: the reference is added where it is missing.
        sweep: the sizes.
        phases: what to time of each.
        causal: tokens see only their past.
        device: `cpu`, `cuda`, `cuda:1`.
        dtype: of weights and inputs: `float32`, `bfloat16`, `float16`.
        threads: of the processor; None leaves torch's choice.
        rounds: how often everything is timed.
        seconds: after about so many, no further round is begun; at least three are made. None: as long as it takes.
        patience: seconds that one call may take; what would take longer is left out.
        reference: ratios and crossovers refer to it.
        seed: of the order within rounds, the inputs and the weights.

    Raises:
        ValueError: for an unknown phase, device or dtype, no phase, threads below 1, or fewer rounds than three.
    """

    subjects: tuple[Subject, ...]
    sweep: Sweep = field(default_factory=Sweep)
    phases: tuple[Phase, ...] = PHASES
    causal: bool = True
    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    rounds: int = 9
    seconds: float | None = None
    patience: float = 20.0
    reference: str = _REFERENCE
    seed: int = 0

    def __post_init__(self) -> None:
        check_names("bench", self.phases, list(PHASES), word="phase")
        check_names("bench", [self.device.partition(":")[0]], ["cpu", "cuda"], word="device")
        check_names("bench", [self.dtype], list(DTYPES), word="dtype")
        if self.rounds < MIN_ROUNDS:
            raise ValueError(f"rounds must be {MIN_ROUNDS} or more, but {self.rounds} was given: one time says nothing")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be 1 or more, but {self.threads} was given")
        if not self.phases:
            raise ValueError(f"phases is empty; choose some of {', '.join(PHASES)}")
        reference = parse_subject(self.reference)
        names = [subject.name for subject in self.subjects]
        object.__setattr__(self, "reference", reference.name)
        if reference.name not in names:
            object.__setattr__(self, "subjects", (reference, *self.subjects))

    def command(self) -> str:
        """Return the command that measures the same again."""
        default = BenchPlan(subjects=self.subjects)
        words = ["formers", "bench", *(subject.name for subject in self.subjects)]
        words += [word for axis in AXES for word in (f"--{axis}", size_text(getattr(self.sweep, axis)))]
        words += ["--phases", ",".join(self.phases), "--against", self.reference]
        words += [] if self.causal else ["--bidirectional"]
        words += ["--device", self.device]
        for name in ("dtype", "threads", "rounds", "seconds", "patience", "seed"):
            value = getattr(self, name)
            if value != getattr(default, name):
                words += [f"--{name}", f"{value:g}" if name in ("seconds", "patience") else str(value)]
        return command_line(words)


def default_subjects(causal: bool, quick: bool) -> tuple[Subject, ...]:
    """Return a useful selection; with `quick`, a short one."""
    return parse_subjects(_BRIEF if quick else _CAUSAL if causal else _BIDIRECTIONAL)
