import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbudget.api.quantity import (
    MAX_BYTES,
    format_bytes,
    format_quantity,
    parse_quantity,
    round_two_digits,
)

MI = 2**20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("64Mi", 64 * MI),
        ("1.5Gi", 1536 * MI),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129M", 129_000_000),
        ("1E", 10**18),  # E is exa ...
        ("1E3", 1000),  # ... unless digits follow
        ("1e-3", 1),
        ("128974848000m", 128974848),
        ("1500m", 2),  # rounded up, away from zero
        ("-1500m", -2),
        ("1n", 1),
        (".5Ki", 512),
        ("1.", 1),
        ("+1k", 1000),
        ("00010", 10),
        (1073741824, 1073741824),
        (1.5e9, 1_500_000_000),  # a JSON number is a quantity
        ("8Ei", MAX_BYTES),
        ("1e99999999", MAX_BYTES),
        ("-9e40", -MAX_BYTES),
        (10**40, MAX_BYTES),
        ("1e-99999999", 1),
        ("0e99999999", 0),
    ],
)
def test_reads_what_kubernetes_reads(text: str, size: int):
    assert parse_quantity(text) == size


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("64Mb", "'64Mb' is not a quantity; write 64Mi"),
        ("64 MiB", "write 64Mi"),
        ("1.5gb", "write 1.5Gi"),
        ("1K", "write 1Ki"),  # resource.Quantity knows k and Ki, not K
        ("", "'' is not a quantity; write a size such as 64Mi"),
        ("Ki", "a size such as 64Mi"),
        ("1e", "a size such as 64Mi"),
        ("1,5Gi", "a size such as 64Mi"),
        ("0x10", "a size such as 64Mi"),
        ("٦٤Mi", "a size such as 64Mi"),  # other scripts have digits too
        ("64Mi\n", "write 64Mi"),
        ("9" * 1_000_000, "(1000002 characters)"),
        (None, "None is not a quantity"),
        (True, "True is not a quantity"),
        (float("nan"), "'nan' is not a quantity"),
        (float("inf"), "'inf' is not a quantity"),
        ({"a": 1}, "is not a quantity"),
    ],
)
def test_refuses_the_rest_and_says_what_to_write(text: str, says: str):
    with pytest.raises(ValueError, match=re.escape(says)) as refusal:
        parse_quantity(text)
    assert len(str(refusal.value)) < 200


@given(st.integers(0, 10**15), st.sampled_from(["", "k", "M", "Ki", "Mi", "m", "n"]))
def test_monotone_in_the_number(number: int, unit: str):
    assert parse_quantity(f"{number}{unit}") <= parse_quantity(f"{number + 1}{unit}")


@given(st.text(max_size=80))
def test_any_text_is_a_size_within_int64_or_a_value_error(text: str):
    try:
        size = parse_quantity(text)
    except ValueError:
        size = 0
    assert -MAX_BYTES <= size <= MAX_BYTES


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1536, "1.5 KiB"),
        (6 * MI, "6 MiB"),
        (6 * MI + 10_000, "6.0 MiB"),
        (int(6.5 * MI), "6.5 MiB"),
        (int(9.97 * MI), "10 MiB"),
        (256 * MI, "256 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (MAX_BYTES, "8 EiB"),
        (-2 * MI, "-2 MiB"),
    ],
)
def test_shows_sizes_to_people(size: int, text: str):
    assert format_bytes(size) == text


@given(st.integers(0, MAX_BYTES))
def test_status_quantities_read_back_within_two_digits(size: int):
    assert parse_quantity(format_quantity(size)) == pytest.approx(size, rel=0.051, abs=1)


@pytest.mark.parametrize(
    ("number", "rounded"), [(0, 0), (99, 99), (104, 100), (10_464, 10_000), (-1_249, -1_200)]
)
def test_two_digits(number: int, rounded: int):
    assert round_two_digits(number) == rounded
