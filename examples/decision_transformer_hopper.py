"""A Decision Transformer on Hopper-v5, beside behaviour cloning: learned from recordings of three policies alone.

    pip install 'formers[lab,control,mujoco]'
    python examples/decision_transformer_hopper.py --folder hopper

Records 216 episodes (random actions, a policy that hops for a while, one that hops to the end; 22,000 steps, half a
minute), trains three arms, and prints what each reaches for several asked-for returns. Everything is kept in the
folder: the recording, the models, and report.html.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from formers.lab import Arm, Budget, Results, Study, run
from formers.tasks import Control
from formers.tasks.control import load_recording, policies_for, record, save_recording
from formers.tasks.control.policies import EPISODES
from formers.tasks.control.recordings import FACTS

ENVIRONMENT = "Hopper-v5"
ARMS = (
    Arm("decision transformer", {"mixer": "softmax"}),
    Arm("behaviour cloning", {"return_conditioned": False}),
    Arm("of the best 10 %", {"return_conditioned": False, "task.top": 0.1}),
)


def recorded(folder: Path, episodes: Mapping[str, int]) -> Path:
    """Return the folder of a recording, made where there is none."""
    if not (folder / FACTS).is_file():
        save_recording(record(ENVIRONMENT, policies_for(ENVIRONMENT), episodes), folder)
    for policy, (count, steps, mean) in load_recording(folder).summary().items():
        print(f"{policy:8}{count:5} episodes{steps:8,} steps, mean return {mean:7.1f}")
    return folder


def train(recording: Path, folder: Path, *, steps: int, episodes: int, seeds: int) -> Results:
    """Return the results of a study of the three arms on a recording, with its report in the folder."""
    study = Study(
        task=Control(env=ENVIRONMENT, path=str(recording.resolve()), episodes=episodes),
        arms=ARMS,
        budget=Budget(steps=steps, batch_size=64, learning_rate=1e-3, evaluations=2),
        seeds=tuple(range(seeds)),
        folder=folder / "study",
    )
    return run(study)


def show(results: Results) -> None:
    """Print each run's score for each asked-for one."""
    for row in results.rows:
        reached = row.slices.get("asked-for score", {})
        told = "  ".join(f"{asked} → {score:.1f}" for asked, score in reached.items())
        print(f"{row.arm:22} seed {row.seed}: {told or row.cause}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("hopper"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--episodes", type=int, default=8, help="of each asked-for return in a measurement")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    recording = recorded(options.folder / "recording", EPISODES)
    show(train(recording, options.folder, steps=options.steps, episodes=options.episodes, seeds=options.seeds))
    print(f"report: {options.folder / 'study' / 'report.html'}")


if __name__ == "__main__":
    main()
