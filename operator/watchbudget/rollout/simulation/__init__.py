"""The same pacer in virtual time, against models of an API server and of pods: hours in seconds.

For tests and for asking beforehand how long a rollout will take; nothing of the operator uses it.
"""

from watchbudget.rollout.simulation.operators import Faults
from watchbudget.rollout.simulation.pods import Agent, Fate, Pod
from watchbudget.rollout.simulation.run import Simulation
from watchbudget.rollout.simulation.server import Server

__all__ = ["Agent", "Fate", "Faults", "Pod", "Server", "Simulation"]
