"""Fixtures that give tests a real control plane.

Loaded by every pytest run where watchbudget is installed, so it imports nothing heavy at the top.

- ``cluster``: one `LocalCluster` with three nodes, shared by the whole session. Leave it as you found it:
  work in namespaces and with names of your own.
- ``fresh_cluster``: a function that starts a cluster of the test's own, for tests that break things.

Tests that use either get the marker ``cluster``, so that ``-m "not cluster"`` leaves them out. Where the
control plane cannot be had they are skipped with the reason; with ``WATCHBUDGET_REQUIRE_ALL=1`` they fail.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watchbudget.localcluster.cluster import LocalCluster

__all__ = ["cluster", "control_plane", "fresh_cluster"]

_PROBLEM = pytest.StashKey[str | None]()
_FIXTURES = {"cluster", "control_plane", "fresh_cluster"}


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also to projects other than ours."""
    config.addinivalue_line("markers", "cluster: needs the real control plane of watchbudget.localcluster")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a cluster."""
    for item in items:
        if _FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the binaries ready before the first test: a cold build may take longer than a test's timeout."""
    needed = any(_FIXTURES.intersection(getattr(item, "fixturenames", ())) for item in session.items)
    if needed and not session.config.option.collectonly:
        session.config.stash[_PROBLEM] = _prepare(session.config)


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> None:
    """Make sure that a cluster can be started; skip or fail otherwise."""
    stash = request.config.stash
    problem = stash[_PROBLEM] if _PROBLEM in stash else _prepare(request.config)
    if problem is not None:
        stop = pytest.fail if os.environ.get("WATCHBUDGET_REQUIRE_ALL") == "1" else pytest.skip
        stop(f"NOT TESTED on a real control plane: {problem}")


@pytest.fixture(scope="session")
def cluster(control_plane: None) -> Iterator[LocalCluster]:  # noqa: ARG001 - for its effect
    """Yield the session's shared cluster: three nodes, one in each of three zones."""
    from watchbudget.localcluster import LocalCluster  # noqa: PLC0415

    with LocalCluster() as started:
        started.add_nodes(3)
        yield started


@pytest.fixture
def fresh_cluster(control_plane: None) -> Iterator[Callable[..., LocalCluster]]:  # noqa: ARG001
    """Yield a function that starts a `LocalCluster` with its arguments; all are stopped after the test."""
    from watchbudget.localcluster import LocalCluster  # noqa: PLC0415

    with contextlib.ExitStack() as stack:

        def start(**arguments: Any) -> LocalCluster:  # noqa: ANN401 - handed through as they are
            return stack.enter_context(LocalCluster(**arguments))

        yield start


def _prepare(config: pytest.Config) -> str | None:
    """Find or build the binaries; return what is in the way, None if nothing is."""
    from watchbudget.localcluster.binaries import ensure_binaries  # noqa: PLC0415 - see the module's text
    from watchbudget.localcluster.errors import BuildError  # noqa: PLC0415
    from watchbudget.localcluster.progress import stderr_progress  # noqa: PLC0415

    if importlib.util.find_spec("cryptography") is None:
        return "there is no package cryptography; install with: pip install 'watchbudget[localcluster]'"
    capture = config.pluginmanager.getplugin("capturemanager")
    shown = capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
    try:
        with shown, stderr_progress() as progress:
            ensure_binaries(progress)
    except BuildError as error:
        return str(error)
    return None
