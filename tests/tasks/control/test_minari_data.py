from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formers.tasks import parse
from formers.tasks.control.minari_data import load_minari

gymnasium = pytest.importorskip("gymnasium", reason="the extra control")
minari = pytest.importorskip("minari", reason="the extra control")
NAME = "cartpole/left-v0"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Minari data set of three short episodes, on this machine only."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    environment = gymnasium.make("CartPole-v1")
    played = [play(environment, seed) for seed in range(3)]
    buffers = [
        minari.data_collector.EpisodeBuffer(
            id=index,
            observations=np.array(states),
            actions=np.zeros(len(states) - 1, np.int64),
            rewards=[1.0] * (len(states) - 1),
            terminations=[False] * (len(states) - 2) + [True],
            truncations=[False] * (len(states) - 1),
        )
        for index, states in enumerate(played)
    ]
    return minari.create_dataset_from_buffers(NAME, buffers, env=environment)


def play(environment: Any, seed: int) -> list[np.ndarray]:
    """Return the states of forty steps that begin with a seed, always to the same side, the last state too."""
    state, _ = environment.reset(seed=seed)
    return [state, *(environment.step(0)[0] for _ in range(40))]


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_is_read(recorded: Any) -> None:
    found = load_minari(NAME)
    episodes = list(recorded.iterate_episodes())
    assert found.spaces.name == "CartPole-v1"
    assert found.lengths.tolist() == [len(episode.rewards) for episode in episodes]
    np.testing.assert_allclose(found.states[: found.lengths[0]], episodes[0].observations[:-1], rtol=1e-6)
    assert not found.actions.any()
    assert set(found.policies) == {NAME}
    assert found.hundred == found.returns.max() or found.hundred > found.zero
    task = parse(f"control(path='minari:{NAME}', length=4)")
    assert task.trajectories.summary().keys() == {NAME}


def test_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, download: bool) -> None:
        raise ValueError("Dataset not found\nlocally")

    monkeypatch.setattr(minari, "load_dataset", load)
    with pytest.raises(FileNotFoundError, match=r"no Minari data set 'a/b-v0' here \(Dataset not found locally\)"):
        load_minari("a/b-v0")
