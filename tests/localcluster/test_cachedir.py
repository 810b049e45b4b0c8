from pathlib import Path

import pytest

from watchbudget.localcluster.cachedir import cache_root, exclusive_lock


def test_own_variable_goes_before_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("WATCHBUDGET_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("WATCHBUDGET_CACHE")
    assert cache_root() == tmp_path / "watchbudget"


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_useless_xdg_is_ignored(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.delenv("WATCHBUDGET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_root() == Path.home() / ".cache" / "watchbudget"


def test_a_free_lock_is_taken_in_silence_and_given_back(tmp_path: Path):
    waited = []
    for _ in range(2):
        with exclusive_lock(tmp_path / "sub" / "lock", lambda: waited.append(1)):
            pass
    assert waited == []
