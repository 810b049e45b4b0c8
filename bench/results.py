"""How every benchmark shows what it measured: a table on the screen and JSON beside it."""

from __future__ import annotations

import json
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["show", "told", "write"]

RESULTS = Path(__file__).parent / "results"


def told(text: str) -> None:
    """Say how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print one table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


def write(name: str, figures: dict[str, Any]) -> Path:
    """Write figures with the machine and versions they were measured on; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": cpu_count(),
        "python": platform.python_version(),
        "watchbudget": version("watchbudget"),
    }
    path.write_text(json.dumps({"about": about, **figures}, indent=2) + "\n")
    return path
