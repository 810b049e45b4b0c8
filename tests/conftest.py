"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine must not fail a property: what holds is tested, not how fast.
settings.register_profile("watchbudget", deadline=None)
settings.load_profile("watchbudget")

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = os.environ.get("WATCHBUDGET_REQUIRE_ALL") == "1"


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the corpus, so that `-m "not corpus"` leaves it out."""
    for item in items:
        if "corpus" in getattr(item, "fixturenames", ()):
            item.add_marker("corpus")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The corpus of real agents' manifests: $WATCHBUDGET_CORPUS, else `shared/corpus` beside the checkout."""
    path = Path(os.environ.get("WATCHBUDGET_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not (path / "INDEX.tsv").is_file():
        message = f"NOT TESTED against real agents: no corpus at {path}; set WATCHBUDGET_CORPUS to its folder"
        if REQUIRE_ALL:
            pytest.fail(message)
        pytest.skip(message)
    return path
