"""Runs `watchbudget` with a wall clock that is wrong by as many seconds as a file says whenever it is asked.

Arguments: the file, then the command line, python -m watchbudget ... Only our own modules see the wrong
time; the monotonic clocks, and the libraries below, see the right one.
"""

from __future__ import annotations

import datetime  # noqa: ICN001 - modules that call it dt are looked for
import importlib
import sys
import time
import types
from pathlib import Path
from typing import Any

FILE = Path(sys.argv[1])


def shift() -> float:
    try:
        return float(FILE.read_text() or 0)
    except OSError:
        return 0.0


class _AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime.datetime)


class Wrong(datetime.datetime, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:  # noqa: ANN401 - the class that others expect
        return datetime.datetime.now(tz) + datetime.timedelta(seconds=shift())


def main() -> None:
    modules = ("watchbudget.controller.process", "watchbudget.cli.run", "watchbudget.cli.main")
    cli = [importlib.import_module(name) for name in modules][-1]
    wrong = types.ModuleType("datetime")
    wrong.__dict__.update(datetime.__dict__, datetime=Wrong)
    found = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("watchbudget.") and getattr(module, "dt", None) is datetime:
            module.dt = wrong  # type: ignore[attr-defined]
            found += 1
    right = time.time
    time.time = lambda: right() + shift()
    assert found >= 3, "nothing would see the wrong time"
    sys.argv = ["watchbudget", *sys.argv[5:]]
    cli.main()


if __name__ == "__main__":
    main()
