"""Own entries: they win over built-in ones, and a faulty one is refused with file, entry and field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demand_builders import container, daemon_set, demand
from watchbudget.demand.catalogue import CatalogueError, load_catalogue
from watchbudget.demand.model import Watches

GOOD = """
agents:
  - agent: our-shipper
    title: Our shipper
    match: [{image: corp/shipper}]
    stacks: [{stack: client-go-streaming, source: "https://git.example.org/shipper/go.mod"}]
    resources:
      namespaces:
        cases:
          - when: [{setting: {arg: no-labels, env: SHIPPER_NO_LABELS, default: "false"}, is: true}]
            watches: no
            reason: --no-labels is given
          - {watches: yes, watchers: 2, reason: it watches every namespace twice}
        narrowing: {option: --no-labels, loses: [namespace_labels], source: "https://git.example.org/shipper/README"}
        sources: ["https://git.example.org/shipper/watch.go"]
"""


def _file(folder: Path, text: str, name: str = "own.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_an_own_entry_answers_for_an_own_agent(tmp_path: Path):
    catalogue = load_catalogue([_file(tmp_path, GOOD)])
    owner = daemon_set(container("registry.corp/corp/shipper:2.0.0"))
    found = demand(owner, catalogue=catalogue)
    assert (found.watches, found.watchers_per_pod, found.stack) == (Watches.YES, 2, "client-go-streaming")
    assert found.narrowing is not None
    assert found.narrowing.lost_fields == ("namespace_labels",)
    narrowed = daemon_set(container("registry.corp/corp/shipper:2.0.0", args=("--no-labels",)))
    assert demand(narrowed, catalogue=catalogue).watches is Watches.NO


def test_a_folder_of_own_entries_is_read(tmp_path: Path):
    _file(tmp_path, GOOD)
    _file(tmp_path, "not a catalogue", "notes.txt")
    assert [entry.agent for entry in load_catalogue([tmp_path]).own] == ["our-shipper"]


def test_an_own_entry_of_the_same_id_replaces_the_built_in_one(tmp_path: Path):
    own = GOOD.replace("our-shipper", "vector").replace("corp/shipper", "corp/vector-fork")
    catalogue = load_catalogue([_file(tmp_path, own)])
    assert catalogue.recognise(container("docker.io/timberio/vector:0.50.0", "vector")) is None
    assert len([entry for entry in catalogue.entries if entry.agent == "vector"]) == 1


def test_an_own_entry_wins_even_where_a_built_in_one_is_more_specific(tmp_path: Path):
    own = GOOD.replace("image: corp/shipper", "image: '*vector*'")
    found = load_catalogue([_file(tmp_path, own)]).recognise(container("docker.io/timberio/vector:0.50.0"))
    assert found is not None
    assert found.entry.agent == "our-shipper"


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("watches: no\n", "watches: maybe\n", "cases[0].watches", "yes"),
        ("reason: --no-labels is given", "reason: x", "cases[0].reason", "at least 10"),
        ("match: [{image: corp/shipper}]", "match: []", "match", "at least 1"),
        ("match: [{image: corp/shipper}]", "match: [{container: agent}]", "match[0]", "needs an image"),
        ("namespaces:\n", "name spaces.:\n", "resources", "not RESOURCE"),
        ("loses: [namespace_labels], ", "", "narrowing", "loses"),
        ('sources: ["https://git.example.org/shipper/watch.go"]', "sources: []", "sources", "at least 1"),
        ("watchers: 2", "watchers: 0", "cases[1].watchers", "greater than or equal to 1"),
        ("watchers: 2", "watcher: 2", "cases[1].watcher", "not permitted"),
        ("{watches: yes, watchers: 2,", "{when: [{version: '>=1.0'}], watches: yes,", "cases", "last case"),
        ('default: "false"}, is: true}', 'default: "false"}}', "cases[0].when[0]", "exactly one of is"),
        (
            'setting: {arg: no-labels, env: SHIPPER_NO_LABELS, default: "false"}, is',
            "version: 1.0, is",
            "version",
            "bound",
        ),
        (
            'setting: {arg: no-labels, env: SHIPPER_NO_LABELS, default: "false"}, is',
            "option: x, is",
            "namespaces",
            "per",
        ),
        ("stack: client-go-streaming", "stack: go", "stacks[0].stack", "client-go-streaming"),
        ('source: "https://git.example.org/shipper/go.mod"', "since: 1.0.0", "stacks[0]", "source"),
        (
            "{option: --no-labels,",
            "{option: --no-labels, since: last year,",
            "narrowing.since",
            "not a version",
        ),
        ("agent: our-shipper", "agent: Our Shipper", "agent", "pattern"),
    ],
)
def test_a_fault_names_file_entry_and_field(tmp_path: Path, old: str, new: str, field: str, message: str):
    assert old in GOOD
    with pytest.raises(CatalogueError) as raised:
        load_catalogue([_file(tmp_path, GOOD.replace(old, new, 1))])
    line = str(raised.value).splitlines()[0]
    assert line.startswith(f"{tmp_path / 'own.yaml'}: entry '")
    assert field in line
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one key, `agents`"),
        ("[]", "one key, `agents`"),
        ("agents: {}", "one key, `agents`"),
        ("agents: [3]", "entry 1"),
        ("agents: [\n", "not YAML"),
        ("agents: []\nagents: []", "given twice"),
        ("{{a: b}: c}", "not YAML"),
        ("a: !!python/object:os.system x", "not YAML"),
        ("\x00", "not YAML"),
        ("[" * 5000, "not YAML"),
    ],
)
def test_what_is_no_catalogue_is_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(CatalogueError, match=r"own\.yaml") as raised:
        load_catalogue([_file(tmp_path, text)])
    assert message in str(raised.value)


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path):
    one = _file(
        tmp_path,
        GOOD.replace("watchers: 2", "watchers: 0").replace("title: Our shipper", "title: 3"),
        "one.yaml",
    )
    with pytest.raises(CatalogueError) as raised:
        load_catalogue([one, tmp_path / "missing.yaml"])
    assert len(str(raised.value).splitlines()) == 3


def test_the_same_id_twice_is_refused(tmp_path: Path):
    with pytest.raises(CatalogueError, match="twice"):
        load_catalogue([_file(tmp_path, GOOD, "a.yaml"), _file(tmp_path, GOOD, "b.yaml")])


def test_an_empty_folder_is_an_error_and_not_an_empty_catalogue(tmp_path: Path):
    with pytest.raises(CatalogueError, match=r"without \.yaml"):
        load_catalogue([tmp_path])


DOCS = Path(__file__).resolve().parents[2] / "docs" / "catalogue.md"


def test_the_entry_that_the_documentation_shows_loads(tmp_path: Path):
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    whole = next(block for block in blocks if block.startswith("agents:"))
    per = next(block for block in blocks if block.lstrip().startswith("namespaces:"))
    assert load_catalogue([_file(tmp_path, whole)]).own[0].agent == "our-shipper"
    head = whole[: whole.index("      namespaces:")]
    source = '        sources: ["https://git.example.org/shipper/watch.go"]\n'
    (entry,) = load_catalogue([_file(tmp_path, head + per + source)]).own
    assert entry.resources["namespaces"].per is not None
