"""Names that an object can have."""

from __future__ import annotations

import pytest

from watchbudget.inventory.names import possible


@pytest.mark.parametrize("name", ["a", "kube-system", "kube-root-ca.crt", "0", "a.b-c.d", "x" * 253])
def test_names(name: str):
    assert possible(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a..b",
        "-a",
        "a-",
        "a/b",
        "a%2Fb",
        "A",
        "a b",
        "a\n",
        "ä",
        "x" * 254,
        "a.",
        ".a",
        "a?b",
        "a#b",
    ],
)
def test_what_is_none(name: str):
    assert not possible(name)
