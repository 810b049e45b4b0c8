"""Plain scalars mean what they mean to kubectl, not what YAML 1.1 says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbudget.inventory.yaml_scalars import resolve

# Compared with what sigs.k8s.io/yaml v1.6.0 (YAMLToJSON), kubectl's own reader, makes of the same text.
MEANINGS = [
    ("", None),
    ("~", None),
    ("null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("true", True),
    ("yes", True),
    ("On", True),
    ("y", True),
    ("N", False),
    ("off", False),
    ("yEs", "yEs"),
    ("0", 0),
    ("-12", -12),
    ("+5", 5),
    ("1_000", 1000),
    ("0x1F", 31),
    ("-0x1F", -31),
    ("0o17", 15),
    ("017", 15),
    ("0b101", 5),
    ("18446744073709551615", 2**64 - 1),
    ("18446744073709551616", 2.0**64),
    ("08", 8.0),
    ("1.5", 1.5),
    (".5", 0.5),
    ("1.", 1.0),
    ("1e3", 1000.0),
    ("-1.5E-3", -0.0015),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("98E587", "98E587"),
    ("1_0.5", 10.5),
    ("1:30", "1:30"),
    ("12:30:45", "12:30:45"),
    ("2020-01-01", "2020-01-01"),
    ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
    ("1.2.3", "1.2.3"),
    ("v1", "v1"),
    ("0x", "0x"),
    ("-", "-"),
    (".", "."),
    ("64Mi", "64Mi"),
    ("10%", "10%"),
    ("0o9", "0o9"),
    ("=", "="),
    ("<<", "<<"),
]


@pytest.mark.parametrize(("text", "meaning"), MEANINGS)
def test_what_a_plain_scalar_means(text: str, meaning: object):
    value = resolve(text)
    assert value == meaning
    assert type(value) is type(meaning)


def test_not_a_number():
    assert math.isnan(resolve(".nan"))  # type: ignore[arg-type]


@given(st.integers(-(2**63), 2**64 - 1))
def test_integers_of_64_bits_are_themselves(number: int):
    assert resolve(str(number)) == number


@given(st.text(max_size=30) | st.text("0123456789+-._eExob:", max_size=100))
def test_any_text_has_a_meaning(text: str):
    value = resolve(text)
    assert value is None or isinstance(value, (str, int, float))
    assert not isinstance(value, str) or value == text


def test_a_million_digits_are_read_quickly():
    assert resolve("9" * 1_000_000) == "9" * 1_000_000
