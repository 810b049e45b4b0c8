import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbudget.api.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("0s", 0),
        ("0", 0),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1m0.5s", 60.5),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("5m0s", 300),  # how Go writes 5m back
    ],
)
def test_reads_what_go_reads(text: str, seconds: float):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("300", "write 300s for seconds"),
        ("5 m", "write one such as 5m"),
        ("1d", "write one such as 5m"),  # Go has no days either
        ("-5s", "'-5s' is negative"),
        ("", "'' is not a duration"),
        ("h", "is not a duration"),
        ("9" * 30 + "h", "longer than a duration can be"),
        ("1s" * 1000, "is not a duration"),
        (300, "300 is not a duration"),
        (None, "None is not a duration"),
    ],
)
def test_refuses_the_rest(text: str, says: str):
    with pytest.raises(ValueError, match=says):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_written_durations_read_back_to_the_millisecond(milliseconds: int):
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (300, "5m"), (5400, "1h30m"), (0.25, "250ms"), (61.5, "1m1s500ms")]
)
def test_writes_them_as_people_do(seconds: float, text: str):
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_refuses_to_write_what_is_no_duration(seconds: float):
    with pytest.raises(ValueError, match="not a duration"):
        format_duration(seconds)
