"""The same trouble is told once, not at every attempt: no news is no change."""

from __future__ import annotations

import logging

__all__ = ["Trouble"]


class Trouble:
    """What stands in the way of one thing that is tried again and again."""

    def __init__(self, log: logging.Logger) -> None:
        """Nothing does yet."""
        self._log = log
        self._told = ""

    def tell(self, what: str, error: Exception) -> None:
        """Log it, if it is not what was told last."""
        text = f"{what}: {error}"
        if text != self._told:
            self._log.warning("%s", text)
        self._told = text

    def over(self) -> None:
        """It worked: the next trouble is told even if it is the same again."""
        self._told = ""
