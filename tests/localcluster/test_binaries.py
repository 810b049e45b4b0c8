from collections.abc import Callable
from pathlib import Path

import pytest

from watchbudget.localcluster import binaries
from watchbudget.localcluster.errors import BuildError
from watchbudget.localcluster.progress import silent


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WATCHBUDGET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A `go` that writes a file for each package it is told to build, after a moment."""

    def install(body: str) -> Path:
        go = tmp_path / "go"
        go.write_text(f"#!/bin/sh\n{body}\n")
        go.chmod(0o755)
        monkeypatch.setattr(binaries, "find_go", lambda: go)
        return go

    return install


WRITES_ALL = """
while [ "$1" != -o ]; do shift; done
out=$2; shift 2
for package; do
  echo k8s.io/compiled >&2
  name=${package##*/}
  echo '#!/bin/sh' > "$out$name"; chmod +x "$out$name"
done
"""


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_assets_go_before_the_cache_and_the_rest_comes_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assets = {name: executable(tmp_path / "assets" / name) for name in ("etcd", "kube-apiserver", "kubectl")}
    cached = {name: executable(binaries.cache_directory() / name) for name in binaries.PACKAGES}
    assert binaries.ensure_binaries(silent) == cached | assets


def test_builds_only_what_is_missing(fake_go: Callable[[str], Path]):
    fake_go(WRITES_ALL)
    present = executable(binaries.cache_directory() / "etcd")
    present.write_text("mine")
    found = binaries.ensure_binaries(silent)
    assert set(found) == set(binaries.PACKAGES)
    assert present.read_text() == "mine"


def test_a_file_that_cannot_be_executed_is_not_a_binary(fake_go: Callable[[str], Path]):
    fake_go(WRITES_ALL)
    (binaries.cache_directory()).mkdir(parents=True)
    (binaries.cache_directory() / "etcd").write_text("half")
    assert binaries.ensure_binaries(silent)["etcd"].read_text().startswith("#!")


def test_a_failed_build_says_why_and_leaves_nothing(fake_go: Callable[[str], Path]):
    fake_go(WRITES_ALL + "echo 'cannot find module providing package x' >&2; exit 1")
    with pytest.raises(BuildError, match="cannot find module providing package x"):
        binaries.ensure_binaries(silent)
    left = [path for path in binaries.cache_directory().parent.iterdir() if path.suffix != ".lock"]
    assert left == []


def test_an_interrupted_build_ends_go_and_leaves_nothing(fake_go: Callable[[str], Path], tmp_path: Path):
    fake_go(f"echo $$ > {tmp_path}/pid; echo k8s.io/first >&2; sleep 60")

    def interrupt(text: str):
        if "first" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        binaries.ensure_binaries(interrupt)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    left = [path for path in binaries.cache_directory().parent.iterdir() if path.suffix != ".lock"]
    assert left == []


def test_what_a_killed_builder_left_is_removed(fake_go: Callable[[str], Path]):
    fake_go(WRITES_ALL)
    cache = binaries.cache_directory()
    stale = cache.parent / f".build-{cache.name}-killed"
    executable(stale / "etcd")
    binaries.ensure_binaries(silent)
    assert not stale.exists()


def test_no_room_is_said_before_the_build(monkeypatch: pytest.MonkeyPatch, fake_go: Callable[[str], Path]):
    fake_go("exit 1")
    monkeypatch.setattr(binaries, "BUILD_BYTES", 1 << 60)
    with pytest.raises(BuildError, match="WATCHBUDGET_CACHE"):
        binaries.ensure_binaries(silent)


def test_other_module_versions_have_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = binaries.cache_directory()
    (tmp_path / "gomod").mkdir()
    (tmp_path / "gomod" / "go.mod").write_text("module other\n")
    monkeypatch.setattr(binaries, "_GOMOD", tmp_path / "gomod")
    assert binaries.cache_directory() != before


def test_version_flags_name_the_version_of_the_go_mod():
    required = (Path(binaries.__file__).parent / "gomod" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {binaries.KUBERNETES_VERSION}" in required
    staging = binaries.KUBERNETES_VERSION.replace("v1.", "v0.")
    assert f"k8s.io/api => k8s.io/api {staging}" in required
    assert any(f"version.gitVersion={binaries.KUBERNETES_VERSION}" in flag for flag in binaries.BUILD_FLAGS)
