from pathlib import Path

import pytest

from watchbudget.localcluster import toolchain
from watchbudget.localcluster.errors import BuildError


def fake(path: Path, answer: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'go version {answer} linux/amd64'\n")
    path.chmod(0o755)
    return path


def test_the_wheel_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wheel = fake(tmp_path / "wheel" / "go", "go1.26.6")
    on_path = fake(tmp_path / "path" / "go", "go1.27.0")
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "_wheel", lambda: str(wheel))
    assert toolchain.find_go() == wheel
    monkeypatch.setattr(toolchain, "_wheel", lambda: None)
    assert toolchain.find_go() == on_path


@pytest.mark.parametrize("answer", ["go1.25.9", "go1.4", "nonsense"])
def test_an_old_one_will_not_do_and_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
):
    old = fake(tmp_path / "go", answer)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "_wheel", lambda: None)
    with pytest.raises(BuildError, match="pip install") as caught:
        toolchain.find_go()
    assert str(old) in str(caught.value)


def test_the_environment_keeps_the_proxy_and_drops_what_changes_the_result(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOPROXY", "https://proxy.example.com")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("GOOS", "plan9")
    env = toolchain.go_environment()
    assert env["GOPROXY"] == "https://proxy.example.com"
    assert env["GOTOOLCHAIN"] == "local"
    assert not {"GOFLAGS", "GOOS"} & set(env)
