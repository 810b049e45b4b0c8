"""The Dockerfile, as far as it can be proven without a container engine: nothing here builds an image."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from manifests.installation import MANIFESTS, ROOT

TOML = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, WHEEL = TOML["project"], TOML["tool"]["hatch"]["build"]["targets"]["wheel"]
LOCK = (ROOT / "requirements.lock").read_text()


def instructions() -> list[tuple[str, str]]:
    """Name and arguments of each instruction, without comments, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def only(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def ignored(path: str) -> bool:
    """Whether the context leaves a path out, by the last pattern that matches it or a folder above it."""
    result = False
    for pattern in (ROOT / ".dockerignore").read_text().splitlines():
        if not pattern or pattern.startswith("#"):
            continue
        exception, bare = pattern.startswith("!"), pattern.removeprefix("!").removeprefix("**/")
        parts = Path(path).parts
        above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        if any(
            fnmatch.fnmatch(each, bare) or (pattern.startswith("**/") and bare in parts) for each in above
        ):
            result = not exception
    return result


def locked() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package in the lock."""
    found = {}
    for block in re.split(r"\n(?=[a-z0-9])", LOCK):
        if match := re.match(r"([a-z0-9.-]+)==([^ ;\\]+)", block):
            found[match[1]] = (match[2], block.count("--hash=sha256:"))
    return found


def needed() -> set[str]:
    """Everything that the package with its extra `operator` needs, found through what is installed here."""
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["operator"]]
    todo = [(Requirement(each), "") for each in wanted]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for each in ("", *requirement.extras):
            key = (re.sub(r"[-_.]+", "-", requirement.name).lower(), each)
            if key not in seen:
                seen.add(key)
                todo += [(Requirement(item), each) for item in distribution(key[0]).requires or ()]
    return {name for name, _ in seen}


def test_whatever_is_copied_is_there_and_all_that_the_build_reads():
    """Whatever pyproject.toml names; `uv build` stops without it."""
    copied = [part for rest in only("COPY") if not rest.startswith("--from=") for part in rest.split()[:-1]]
    named = [PROJECT["readme"], *PROJECT["license-files"], *WHEEL["force-include"]]
    named += [Path(each).parts[0] for each in WHEEL["packages"]]
    assert sorted(copied) == sorted(["requirements.lock", "pyproject.toml", *named])
    for path in copied:
        assert (ROOT / path).exists()
        assert not ignored(path)
    assert not ignored("operator/watchbudget/demand/agents/vector.yaml")


def test_nothing_else_is_in_the_context():
    for path in (
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
        "operator/watchbudget/__pycache__/x.pyc",
    ):
        assert ignored(path)


def test_the_lock_has_all_that_the_operator_needs_with_hashes():
    lock = locked()
    for name in needed():
        version, hashes = lock[name]
        assert version == distribution(name).version, name
        assert hashes >= 1, name
    for name in PROJECT["optional-dependencies"]["operator"]:
        assert Requirement(name).name in needed()


def test_every_download_is_checked_against_the_lock():
    commands = [part.split() for rest in only("RUN") for part in rest.split("&&")]
    downloads = [
        words for words in commands if {"install", "build"} & set(words[:3]) and "--offline" not in words
    ]
    assert [" ".join(words[:3]) for words in downloads] == [
        "pip install --require-hashes",
        "uv pip install",
        "uv build --wheel",
    ]
    for words in downloads:
        assert "--require-hashes" in words
        assert "--only-binary" in words or words[1] == "build"
    assert not [words for words in commands if {"apt-get", "apk", "curl", "wget"} & set(words)]


def test_uv_is_taken_from_the_lock(tmp_path: Path):
    """The very command of the Dockerfile."""
    command = only("RUN")[0].split("&&")[0].split(">")[0]
    (tmp_path / "requirements.lock").write_text(LOCK)
    done = subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, text=True, check=True)
    first, *rest = [line for line in done.stdout.splitlines() if not line.strip().startswith("#")]
    assert first == f"uv=={locked()['uv'][0]} \\"
    assert rest
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in rest)


def test_the_base_image_has_a_full_version_that_we_support():
    (base,) = only("ARG")
    match = re.fullmatch(r"BASE=python:(\d+\.\d+\.\d+)-slim-[a-z]+", base)
    assert match
    assert match[1] in SpecifierSet(PROJECT["requires-python"])
    assert only("FROM") == ["${BASE} AS build", "${BASE}"]


def test_it_runs_as_the_deployment_expects():
    deployment = next(yaml.safe_load_all((MANIFESTS / "base" / "deployment.yaml").read_text()))
    pod = deployment["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    (user,) = only("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # kubelet cannot tell of a name whether it is root's
    assert not {"runAsUser", "runAsGroup"} & context.keys()  # OpenShift refuses an id that is not its own
    (container,) = pod["containers"]
    assert "command" not in container  # the image's own
    assert only("ENTRYPOINT") == ['["watchbudget"]']
    assert only("CMD") == ['["run"]']
    assert container["args"][0] == "run"
    assert only("EXPOSE") == [" ".join(str(each["containerPort"]) for each in container["ports"])]


def test_it_says_where_home_is():
    """The Kubernetes client does not load where nobody does, and the user is in no passwd file."""
    assert "HOME=/" in only("ENV")[-1].split()


def test_nothing_that_once_told_two_builds_apart_is_back():
    """What uv notes of a local wheel, and compiling in random order, made a difference."""
    commands = [part.strip() for rest in only("RUN") for part in rest.split("&&")]
    (own,) = [each for each in commands if "--find-links dist" in each]
    assert own.startswith(
        "pip --python /opt/watchbudget/bin/python install --no-deps --no-compile --no-index "
    )
    (compiling,) = [each.split() for each in commands if "compileall" in each]
    assert {"PYTHONHASHSEED=0", "-f", "unchecked-hash"} < set(compiling)
    assert "-j" not in compiling


def test_the_entry_point_works():
    assert PROJECT["scripts"]["watchbudget"] == "watchbudget.cli.main:main"
    script = Path(sys.executable).with_name("watchbudget")
    done = subprocess.run([script, "run", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Run the operator" in done.stdout
