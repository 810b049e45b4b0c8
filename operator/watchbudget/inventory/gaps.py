"""What could not be read of a cluster, so that everything else still is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from watchbudget.inventory.errors import ClusterError, Forbidden, ServerGone, Unauthorized
from watchbudget.inventory.fleet import CLUSTER, Problem

__all__ = ["Gaps"]

_Severity = Literal["error", "warning"]


class Gaps:
    """Collects the problems of one reading; a permission missing in many namespaces is told once.

    Attributes:
        problems: what parsers and parts of the reading report go here directly.
        count: how many parts could not be read.
        passing: those of them that may be read when tried again: not for a missing permission.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.count = self.passing = 0
        self._forbidden: dict[tuple[str, str], tuple[Forbidden, _Severity, int]] = {}

    @contextmanager
    def around(self, effect: str, *, forbidden: _Severity = "warning") -> Iterator[None]:
        """Turn a `ClusterError` inside into a Problem.

        Args:
            effect: what is unknown then, the beginning of the message.
            forbidden: how bad a missing permission is; every other failure is an error.
        """
        try:
            yield
        except Forbidden as error:
            self.count += 1
            first, _, times = self._forbidden.get((effect, error.permission), (error, forbidden, 0))
            self._forbidden[effect, error.permission] = first, forbidden, times + 1
        except (ServerGone, Unauthorized) as error:  # true of everything that follows: said once
            self.count += 1
            self.passing += 1
            self.problems.append(Problem(CLUSTER, str(error)))
        except ClusterError as error:
            self.count += 1
            self.passing += 1
            self.problems.append(Problem(CLUSTER, f"{effect}: {error}"))

    def told(self) -> tuple[Problem, ...]:
        """All problems, each once, in the order they came up; missing permissions last."""
        forbidden = [
            Problem(
                CLUSTER,
                f"{effect}: {error}" + (f" (and {times - 1} more times)" if times > 1 else ""),
                severity=severity,
            )
            for (effect, _), (error, severity, times) in self._forbidden.items()
        ]
        return tuple(dict.fromkeys((*self.problems, *forbidden)))
