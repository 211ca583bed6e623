"""Control: trajectories recorded in environments, and models that act in them for an asked-for return.

1. `environments`: an environment of gymnasium, by its name, and what its states and actions are.
2. `policies`: policies of several qualities for environments that come with the library; `recorder` plays them.
3. `trajectories`: recorded trajectories in memory; `recordings` keeps them in a folder, `minari_data` reads Minari's.
4. `windows`: examples, K steps of a trajectory each; `rollouts`: a model acts in the environment.
5. `control`: the task made of these.
"""

from formers.tasks.control.policies import Policy, policies_for
from formers.tasks.control.recorder import record
from formers.tasks.control.recordings import load_recording, save_recording
from formers.tasks.control.trajectories import Trajectories

__all__ = ["Policy", "Trajectories", "load_recording", "policies_for", "record", "save_recording"]
