"""Which files a command line argument leads to, and what is said of those that cannot be read."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from watchbudget.inventory import files
from watchbudget.inventory.fleet import Problem


def read(*arguments: object, stdin: bytes = b"") -> tuple[list[tuple[str, bytes]], list[str]]:
    problems: list[Problem] = []
    reader = files.Files(problems)
    found = [pair for argument in arguments for pair in reader.read(str(argument), io.BytesIO(stdin))]
    return found, [str(problem) for problem in problems]


def names(*arguments: object) -> list[str]:
    found, problems = read(*arguments)
    assert problems == []
    return [Path(name).name for name, _ in found]


def test_a_folder_gives_its_manifests_sorted(tmp_path: Path):
    for name in (
        "b.yaml",
        "a.yml",
        "c.json",
        "readme.md",
        "D.YAML",
        ".hidden.yaml",
        "sub/e.yaml",
        ".git/f.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert names(tmp_path) == ["D.YAML", "a.yml", "b.yaml", "c.json", "e.yaml"]


def test_a_named_file_is_read_whatever_its_name(tmp_path: Path):
    path = tmp_path / "manifest.txt"
    path.write_bytes(b"a: 1")
    assert read(path) == ([(str(path), b"a: 1")], [])


def test_standard_input():
    assert read("-", stdin=b"a: 1") == ([("standard input", b"a: 1")], [])


def test_a_file_is_read_once(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    (tmp_path / "b.yaml").symlink_to(path)
    assert len(names(path, tmp_path, path)) == 1


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.yaml").write_text("a: 1")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "one")
    (tmp_path / "one" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert names(tmp_path / "root") == ["a.yaml"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nothing.yaml", "there is no such file or folder"),
        ("https://example.com/a.yaml", "addresses are not fetched"),
        ("nul\0byte", "cannot be read"),
    ],
)
def test_what_is_not_there_is_named(argument: str, message: str):
    found, problems = read(argument)
    assert found == []
    assert len(problems) == 1
    assert message in problems[0]


def test_a_dangling_link_is_named_and_the_rest_is_read(tmp_path: Path):
    (tmp_path / "a.yaml").symlink_to(tmp_path / "gone")
    (tmp_path / "b.yaml").write_text("b: 1")
    found, problems = read(tmp_path)
    assert [Path(name).name for name, _ in found] == ["b.yaml"]
    assert problems == [f"{tmp_path}/a.yaml: is a link to nothing"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path):
    for name in ("a.yaml", "folder"):
        path = tmp_path / name
        path.mkdir() if name == "folder" else path.write_text("a: 1")
        path.chmod(0)
    _, problems = read(tmp_path)
    assert len(problems) == 2
    assert all("Permission denied" in problem for problem in problems)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert read(tmp_path) == ([], [f"{path}: cannot be read: Permission denied"])


def test_a_pipe_in_a_folder_is_left_out(tmp_path: Path):
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("b: 1")
    found, problems = read(tmp_path)
    assert len(found) == 1
    assert problems == [f"{tmp_path}/a.yaml: is no regular file, and is left out"]


def test_a_named_pipe_is_read(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b"a: 1"), daemon=True)
    writer.start()
    assert read(path) == ([(str(path), b"a: 1")], [])
    writer.join()


def test_a_folder_that_is_named_like_a_manifest(tmp_path: Path):
    (tmp_path / "x.yaml").mkdir()
    (tmp_path / "x.yaml" / "a.yaml").write_text("a: 1")
    assert names(tmp_path) == ["a.yaml"]


def test_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    path = tmp_path / "a.yaml"
    path.write_bytes(b"x" * ((1 << 20) + 1))
    found, problems = read(path, "-", stdin=b"x" * (2 << 20))
    assert found == []
    assert [problem.partition(":")[0] for problem in problems] == [str(path), "standard input"]
    assert all("is larger than 1 MiB" in problem for problem in problems)


def test_an_endless_device_ends():
    found, problems = read("/dev/zero")
    assert found == []
    assert problems[0].startswith("/dev/zero: is larger than 64 MiB")


def test_a_chart_says_how_to_render_it(tmp_path: Path):
    chart = tmp_path / "chart"
    for name in (
        "Chart.yaml",
        "values.yaml",
        "values-prod.yaml",
        "templates/a.yaml",
        "charts/b.yaml",
        "crds/c.yaml",
    ):
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    found, problems = read(tmp_path)
    assert [Path(name).name for name, _ in found] == ["c.yaml"]
    assert len(problems) == 1
    assert "helm template CHART | watchbudget audit -f -" in problems[0]


def test_strange_file_names_can_be_printed(tmp_path: Path):
    name = os.fsdecode(b"caf\xe9\x1b[31m\n.yaml")
    (tmp_path / name).write_text("a: 1")
    [(shown, _)], _ = read(tmp_path)
    assert shown.isprintable()
    shown.encode()
