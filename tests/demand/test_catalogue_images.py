"""Image references: recognised through mirrors, tags and digests, and never an exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand_builders import container
from watchbudget.demand.catalogue import Catalogue, load_catalogue
from watchbudget.demand.catalogue_model import Entry
from watchbudget.demand.images import Image, parse_version
from watchbudget.inventory.fleet import Container, EnvVar

VECTOR = "timberio/vector"


@pytest.mark.parametrize(
    "reference",
    [
        "timberio/vector",
        "timberio/vector:0.50.0",
        "docker.io/timberio/vector:0.50.0-distroless-libc",
        "registry.example.org:5000/proxy/docker.io/timberio/vector:0.50.0",
        f"timberio/vector@sha256:{'a' * 64}",
        f"localhost:5000/timberio/vector:latest@sha256:{'a' * 64}",
        "Docker.io/TimberIO/Vector:1",
    ],
)
def test_registries_mirrors_tags_and_digests_do_not_matter(reference: str):
    assert Image.parse(reference).matches(VECTOR)


@pytest.mark.parametrize(
    "reference",
    ["", ":", "@", "vector", "timberio/vector-dev", "nottimberio/vector", "timberio/vector/extra", "a:b/c"],
)
def test_another_repository_is_not_taken_for_it(reference: str):
    assert not Image.parse(reference).matches(VECTOR)


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("a/b:0.57.0-distroless-libc", "0.57.0"),
        ("a/b:v1.19.3-debian-elasticsearch7-1.1", "1.19.3"),
        ("a/b:1.300032.2b361", "1.300032.2"),
        ("a/b:v2.16", "2.16"),
        ("registry:5000/a/b", None),
        ("a/b:latest", None),
        ("a/b:master", None),
        ("a/b:7", None),
        ("a/b:20240131", None),
        (f"a/b@sha256:{'1' * 64}", None),
        (f"a/b:1.2.3@sha256:{'1' * 64}", "1.2.3"),
    ],
)
def test_the_release_is_read_from_the_tag(reference: str, version: str | None):
    assert Image.parse(reference).version == version


@given(st.text(max_size=300))
def test_no_text_breaks_recognition(text: str):
    Image.parse(text)
    parse_version(text)
    load_catalogue().recognise(container(text, text, args=(text,), command=(text,), env={text: text}))


@given(
    st.lists(st.from_regex(r"[a-z0-9][a-z0-9.:-]{0,10}", fullmatch=True), max_size=3),
    st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}", fullmatch=True),
)
def test_whatever_a_mirror_prepends_the_agent_is_recognised(prefix: list[str], tag: str):
    found = load_catalogue().recognise(container("/".join([*prefix, f"{VECTOR}:{tag}"])))
    assert found is not None
    assert found.entry.agent == "vector"


def test_a_container_name_alone_recognises_nothing():
    assert load_catalogue().recognise(container("corp/thing:1", "aws-node")) is None
    known = load_catalogue().recognise(
        container("corp/thing:1", "aws-node", env={"AWS_VPC_K8S_CNI_LOGLEVEL": "x"})
    )
    assert known is not None
    assert known.entry.agent == "aws-vpc-cni"
    assert known.version is None  # the tag is somebody else's


def test_filing_signs_by_image_finds_what_looking_at_all_of_them_finds(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(
        """
agents:
  - agent: ours
    title: Ours
    match: [{image: "Example.org/*/Agent-[ab]"}, {image: "*"}, {container: vector, env: HOME}]
    resources:
      namespaces: {cases: [{watches: yes, reason: it watches them all}], sources: [https://example.org]}
"""
    )
    for catalogue in (load_catalogue(), load_catalogue([own])):
        signs = [sign for entry in catalogue.entries for sign in entry.match]
        images = [(sign.image or "x").replace("*", "some").replace("[ab]", "a") for sign in signs]
        for image in (*images, *(f"mirror.example.net/{each}:1.2.3" for each in images), "", "/", "a/b"):
            for name, env in (
                ("vector", ()),
                ("agent", (EnvVar("HOME", "/"),)),
                ("vector", (EnvVar("HOME"),)),
            ):
                item = Container(name, image, env=env)
                found = catalogue.recognise(item)
                assert (found.entry if found else None) is slowly_recognised(catalogue, item)


def slowly_recognised(catalogue: Catalogue, item: Container) -> Entry | None:
    image = Image.parse(item.image)
    for entries in (catalogue.own, catalogue.entries[len(catalogue.own) :]):
        best: tuple[tuple[int, int], Entry] | None = None
        for entry in entries:
            for sign in entry.match:
                shows = (
                    (sign.image is None or image.matches(sign.image))
                    and (sign.container is None or sign.container == item.name)
                    and (sign.env is None or sign.env in {variable.name for variable in item.env})
                    and sign.arg is None
                )
                hints = sum(hint is not None for hint in (sign.container, sign.env, sign.arg))
                weight = len(sign.image.split("/")) if sign.image else 0, hints
                if shows and (best is None or weight > best[0]):
                    best = weight, entry
        if best is not None:
            return best[1]
    return None
