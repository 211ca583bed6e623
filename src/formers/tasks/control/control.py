"""Control: act in an environment, learned from recorded trajectories alone."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from torch.utils.data import Dataset

from formers.part import warn_caller
from formers.tasks.control.drawing import CannotDraw, draw_gif
from formers.tasks.control.environments import spaces_of
from formers.tasks.control.minari_data import PREFIX, load_minari
from formers.tasks.control.policies import EPISODES, policies_for
from formers.tasks.control.recorder import RECORDINGS, SEEDS_APART, record
from formers.tasks.control.recordings import load_recording
from formers.tasks.control.rollouts import Player, Rollout
from formers.tasks.control.trajectories import MIXED, Trajectories
from formers.tasks.control.windows import Scaling, Windows
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.picture import Picture
from formers.tasks.sources import stamp
from formers.tasks.task import Example, Generated, Task, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_ASKED = (0, 25, 50, 75, 100, 125)
"""Scores that are asked for on the test split; the last one has no trajectory to learn it from."""
_SEEDS = {"validation": RECORDINGS * SEEDS_APART, "test": (RECORDINGS + 1) * SEEDS_APART}
"""Where the seeds of a split's episodes begin: behind those of all recordings."""
_SEEN = 1.001
"""Times the largest recorded return up to which an asked-for return counts as seen."""


class Control(Task):
    """Act in an environment of gymnasium for a return that is asked for, learned from recorded trajectories alone.

    A model sees the last `length` steps of an episode: the returns still to come, states, and actions. Returns to go
    are the sums of rewards from each step on; states are standardised over all trajectories; windows are drawn so that
    each step is equally often the first, that is, trajectories by their lengths. It is measured in the real
    environment: it acts, the rewards that it gets are subtracted from the return that is asked for, and its mean return
    is scored, 0 for random actions and 100 for the expert. Discrete actions are drawn by their probabilities.

    `return_conditioned=False` is behaviour cloning, with `task.top=0.1` that of the best tenth of the trajectories.
    Arms of one study may differ in `top`, `delayed` and `length`. For `CartPole-v1` and `Hopper-v5` the trajectories
    are recorded here, by policies that come with the library. Source: Chen et al. 2021 (Decision Transformer),
    arXiv:2106.01345.
    """

    env: str = "CartPole-v1"
    "The name of the environment in gymnasium."
    length: int = 20
    "Steps that a model sees, the context K; each is three tokens, or without returns two."
    data: str = MIXED
    "The policy whose trajectories are trained on, as in `medium`; `mixed` is all of them."
    path: str | None = None
    """A folder with a recording, or `minari:` and the name of a Minari data set; None records the policies of the
    library."""
    top: float = 1.0
    "Share of the trajectories, those with the highest returns, that is trained on."
    delayed: bool = False
    "Whether all rewards of an episode come at its end: the return to go is the whole return at every step."
    target: float | None = None
    "The return that is asked for where models are ranked; the expert's unless given."
    episodes: int = 16
    "Episodes of each asked-for return in a measurement."
    greedy: bool = False
    "Whether the likeliest of discrete actions is taken, instead of one drawn by its probability."

    description: ClassVar[str] = (
        "Act in an environment, learned from recorded trajectories of several qualities alone. Measured in the real "
        "environment: the mean return when the expert's is asked for, on a scale on which random actions have 0 and "
        "the expert has 100."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(name="score", label="score", lower_is_better=False)
    head: ClassVar[str] = "DecisionTransformer"
    arm_options: ClassVar[tuple[str, ...]] = ("top", "delayed", "length")
    arms: ClassVar[tuple[str, ...]] = (
        "decision transformer: mixer=softmax",
        "with linear attention: mixer=linear",
        "behaviour cloning: return_conditioned=False",
        "behaviour cloning of the best 10 %: return_conditioned=False, task.top=0.1",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 1000, "batch_size": 64, "learning_rate": 1e-3, "evaluations": 4}

    def check(self) -> None:
        if self.length < 1 or self.episodes < 1:
            raise ValueError(f"control: length and episodes must be at least 1, not {self.length} and {self.episodes}")
        if not 0 < self.top <= 1:
            raise ValueError(f"control: top is a share of the trajectories, more than 0 and at most 1, not {self.top}")

    @property
    def trajectories(self) -> Trajectories:
        """The trajectories, of all qualities.

        Raises:
            ImportError, FileNotFoundError, ValueError: where there is no environment, or no recording that can be read.
        """
        if self.path is None:
            return _recorded(self.env)
        found = _loaded(self.path, () if self.path.startswith(PREFIX) else stamp(Path(self.path).expanduser()))
        if found.spaces.name != self.env:
            raise ValueError(f"{self.path} was recorded in {found.spaces.name}; write env={found.spaces.name!r}")
        return found

    @property
    def chosen(self) -> Trajectories:
        """The trajectories that are trained on."""
        return self.trajectories.of_policy(self.data).best(self.top)

    @property
    def scaling(self) -> Scaling:
        """The numbers by which inputs are scaled: of the trajectories of `data`, whatever `top` leaves of them."""
        return Scaling.of(self.trajectories.of_policy(self.data))

    @property
    def asked_for(self) -> float:
        """The return that is asked for where models are ranked."""
        return self.trajectories.hundred if self.target is None else self.target

    def base(self) -> TransformerConfig:
        from formers.models import DecisionConfig

        found = self.trajectories
        spaces = found.spaces
        return DecisionConfig(
            state_size=spaces.state_size,
            action_size=spaces.action_size,
            discrete_actions=spaces.discrete,
            longest_episode=max(spaces.longest_episode, int(found.lengths.max())),
            width=64,
            depth=2,
            heads=2,
            context_length=3 * self.length,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def build(self, seed: int, count: int) -> Dataset[Example]:
        windows = Windows(self.chosen, self.scaling, self.length, delayed=self.delayed)
        return Generated(windows.draw, f"control/{seed}", count)

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `score` and `return`, the mean over episodes that begin as for every model; and on the test split the
        score reached for each asked-for one."""
        found, ranked = self.trajectories, self.play(model, split, [self.asked_for] * self.episodes)
        scores = [found.score(rollout.total) for rollout in ranked]
        return Evaluation(
            metrics={"score": fmean(scores), "return": fmean(rollout.total for rollout in ranked)},
            slices={"asked-for score": self.scores_by_asked(model, ranked)} if split == "test" else {},
            items=tuple(scores),
        )

    def scores_by_asked(self, model: PreTrainedModel, ranked: list[Rollout]) -> dict[str, float]:
        """Return asked-for score → mean score that was reached on the test split.

        A model that is not told what is asked for reaches the same for each: that of the episodes `ranked`.
        """
        found, told = self.trajectories, model.config.return_conditioned
        asked_for = [found.return_of(score) for score in _ASKED for _ in range(self.episodes)]
        played = self.play(model, "test", asked_for) if told else ranked * len(_ASKED)
        reached: dict[str, float] = {}
        for i, score in enumerate(_ASKED):
            totals = [rollout.total for rollout in played[i * self.episodes : (i + 1) * self.episodes]]
            note = "" if self.is_seen(found.return_of(score)) else " (never seen)"
            reached[f"{score}{note}"] = found.score(fmean(totals))
        return reached

    def play(self, model: PreTrainedModel, split: Split, asked_for: list[float]) -> list[Rollout]:
        """Return an episode for each asked-for return, on the split's seeds, `episodes` of them over and over."""
        seeds = [_SEEDS[split] + i % self.episodes for i in range(len(asked_for))]
        player = Player(
            model=model,
            spaces=self.trajectories.spaces,
            scaling=self.scaling,
            length=self.length,
            delayed=self.delayed,
            greedy=self.greedy,
        )
        return player.play(seeds, asked_for)

    def is_seen(self, asked: float) -> bool:
        """Return whether a return is at most the largest one that some trajectory trained on has."""
        best = float(self.chosen.returns.max())
        return asked <= best + (_SEEN - 1) * abs(best)

    def references(self) -> dict[str, float]:
        """Return the mean score of each policy that is trained on."""
        found = self.trajectories.of_policy(self.data)
        return {name: found.score(mean) for name, (_, _, mean) in found.summary().items()}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return what the first test episodes reached, and a note where no trajectory has the asked-for return."""
        rollouts = self.play(model, "test", [self.asked_for] * min(3, self.episodes))
        reached = ", ".join(f"{rollout.total:g} in {len(rollout.actions)} steps" for rollout in rollouts)
        if not model.config.return_conditioned:
            return (f"reached {reached}",)
        return (f"asked for a return of {self.asked_for:g}: {reached}. {self.note_on_target()}".strip(),)

    def note_on_target(self) -> str:
        """Return a sentence where no trajectory trained on has as high a return as is asked for; else an empty text."""
        if self.is_seen(self.asked_for):
            return ""
        best = float(self.chosen.returns.max())
        return f"No trajectory that was trained on has a return above {best:g}: what the model does is extrapolated."

    def pictures(self, model: PreTrainedModel) -> tuple[Picture, ...]:
        """Return the first test episode as a GIF; nothing, with a warning, where it cannot be drawn here."""
        [rollout] = self.play(model, "test", [self.asked_for])
        try:
            data = draw_gif(self.env, rollout)
        except CannotDraw as error:
            warn_caller(f"no picture of a rollout: {error}")
            return ()
        told = f"asked for a return of {self.asked_for:g}, " if model.config.return_conditioned else ""
        caption = f"{self.env}, {told}reached {rollout.total:g} in {len(rollout.actions)} steps."
        return (Picture.of_file(caption, data),)

    def save(self, folder: Path) -> None:
        """Write how inputs are scaled, without which the model cannot act, as control.json."""
        scaling = self.scaling
        facts = {"task": str(self), "mean": scaling.mean.tolist(), "deviation": scaling.deviation.tolist()}
        text = json.dumps(facts | {"largest": scaling.largest, "target": self.asked_for}, indent=1)
        (folder / "control.json").write_text(text + "\n", encoding="utf-8")

    @property
    def data_hash(self) -> str:
        found = self.trajectories.of_policy(self.data)
        arrays = (found.states, found.actions, found.rewards, found.lengths)
        return digest([found.spaces, found.zero, found.hundred, *(array.tobytes().hex() for array in arrays)])


@lru_cache(maxsize=4)
def _recorded(env: str) -> Trajectories:
    """Return trajectories of the policies that the library has for an environment."""
    spaces, policies = spaces_of(env), policies_for(env)
    if not set(EPISODES) <= set(policies):
        raise ValueError(
            f"the library has no policies for {spaces.name}; record some of your own with formers.tasks.control.record "
            f"and give path= of the folder, or give path='{PREFIX}…' of a Minari data set"
        )
    return record(env, policies, EPISODES)


@lru_cache(maxsize=4)
def _loaded(path: str, stamped: object) -> Trajectories:
    """Return the trajectories at a path; `stamped` tells changed files from those read before."""
    return (
        load_minari(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else load_recording(Path(path).expanduser())
    )
