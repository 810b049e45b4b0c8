from pathlib import Path

import pytest

from watchbudget.localcluster.components import Component, Layout, Ports
from watchbudget.localcluster.errors import ComponentError, PortInUseError
from watchbudget.localcluster.runner import Runner


def runner(tmp_path: Path, script: str, health: str | None = "https://127.0.0.1:9/healthz"):
    ca = tmp_path / "ca.crt"
    layout = Layout(tmp_path, {}, Ports(1, 2, 3, 4, 5))
    from watchbudget.localcluster.certs import Authority  # noqa: PLC0415

    Authority.create(ca, "test")
    component = Component("thing", ("/bin/sh", "-c", script), health, ca, environment={"GOMAXPROCS": "7"})
    return Runner(layout, {"thing": component}, group=0)


def test_a_component_that_dies_shows_its_last_words_and_where_the_rest_is(tmp_path: Path):
    with pytest.raises(ComponentError, match="exit code 3") as caught:
        runner(tmp_path, "echo the reason; exit 3").start("thing")
    assert "the reason" in str(caught.value)
    assert str(tmp_path / "logs" / "thing.log") in str(caught.value)
    assert not isinstance(caught.value, PortInUseError)


def test_a_taken_port_is_told_from_other_failures(tmp_path: Path):
    with pytest.raises(PortInUseError):
        runner(tmp_path, "echo 'listen tcp 127.0.0.1:1: bind: address already in use'; exit 1").start("thing")


def test_a_component_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("watchbudget.localcluster.runner.HEALTHY_WITHIN", 0.2)
    started = runner(tmp_path, "sleep 60")
    with pytest.raises(ComponentError, match="not healthy"):
        started.start("thing")
    started.kill_all()
    with pytest.raises(ComponentError, match="not running"):
        started.pid("thing")


def test_components_see_what_they_are_given_and_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com")
    started = runner(tmp_path, "env; sleep 60", health=None)
    started.start("thing")
    try:
        for _ in range(100):
            if "PWD" in (text := (tmp_path / "logs" / "thing.log").read_text()):
                break
            __import__("time").sleep(0.02)
        assert "PROXY" not in text
        assert f"HOME={tmp_path}" in text
        assert "GOMAXPROCS=7" in text
    finally:
        started.kill_all()
