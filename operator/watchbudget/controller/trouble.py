"""The same trouble is told once, not at every attempt: no news is no change."""

from __future__ import annotations

import logging

__all__ = ["Trouble"]


class Trouble:
    """What stands in the way of something that is tried again and again."""

    def __init__(self, log: logging.Logger) -> None:
        """Nothing does yet."""
        self._log = log
        self._told: object = None

    def tell(self, what: str, error: object, *, same_as: object = None) -> None:
        """Log that something failed, if it is not what was told last.

        Args:
            what: was tried.
            error: that came of it, in words.
            same_as: by what trouble is known again; by default by the words of `error`.
        """
        known = str(error) if same_as is None else same_as
        if known != self._told:
            self._log.warning("%s: %s", what, error)
        self._told = known

    def over(self) -> None:
        """It worked: the next trouble is told even if it is the same again."""
        self._told = None
