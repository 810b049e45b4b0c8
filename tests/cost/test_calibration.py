"""The coefficients give back the measurements they came from, and say how they did."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from watchbudget.cost.calibration import Calibration, load_calibration

MIB = 2**20
OBJECTS = 20_000
NAMESPACE, LARGE, POLICY, RICH_POLICY = 1090, 4650, 430, 650  # stored bytes of one object

# Every cell of all three measurements: (row, stored bytes, resident bytes per object after the first sync).
STEADY = [
    ("client-go-0.36-streaming", NAMESPACE, 3600),
    ("client-go-0.36-streaming", LARGE, 8900),
    ("client-go-0.36-streaming", POLICY, 3150),
    ("client-go-0.36-streaming", NAMESPACE, 3195),
    ("client-go-0.36-streaming", NAMESPACE, 3357),
    ("client-go-0.36-streaming", NAMESPACE, 4269),  # JSON
    ("client-go-0.36-streaming", NAMESPACE, 3074),  # managedFields dropped
    ("client-go-0.36-streaming", NAMESPACE, 3470),  # metadata informer
    ("client-go-0.36-streaming", POLICY, 2847),
    ("client-go-0.36-streaming", POLICY, 3758),  # JSON
    ("client-go-0.36-list", NAMESPACE, 5000),
    ("client-go-0.36-list", LARGE, 17100),
    ("client-go-0.36-list", POLICY, 4200),
    ("client-go-0.36-list", NAMESPACE, 4293),
    ("client-go-0.36-list", NAMESPACE, 4486),
    ("client-go-0.36-list", NAMESPACE, 5168),  # JSON
    ("client-go-0.36-list", POLICY, 4206),
    ("client-go-0.36-list", POLICY, 2866),  # JSON
    ("client-go-0.28-list", NAMESPACE, 5912),
    ("client-go-0.28-list", POLICY, 4949),
    ("kube-rs-5.0", NAMESPACE, 6600),
    ("kube-rs-5.0", LARGE, 10800),
    ("kube-rs-5.0", POLICY, 6400),
    ("kube-rs-5.0", NAMESPACE, 6709),
    ("kube-rs-5.0", POLICY, 6525),
    ("kube-rs-0.88", NAMESPACE, 13000),
    ("kube-rs-0.88", LARGE, 19700),
    ("kube-rs-0.88", POLICY, 13700),
    ("kube-rs-0.88", NAMESPACE, 12979),
    ("kube-rs-0.88", POLICY, 13611),
    ("python-37", NAMESPACE, 11203),
    ("python-37", NAMESPACE, 10676),  # list and dict
    ("python-37", POLICY, 15210),  # list and dict
    ("fabric8-7.9", NAMESPACE, 9736),
    ("fabric8-7.9", NAMESPACE, 9855),
    ("fabric8-7.9", POLICY, 7854),
    # bench/calibration
    ("client-go-0.36-streaming", NAMESPACE, 3796),
    ("client-go-0.36-streaming", LARGE, 8831),
    ("client-go-0.36-streaming", RICH_POLICY, 4151),
    ("client-go-0.36-list", NAMESPACE, 4851),
    ("client-go-0.36-list", LARGE, 17598),
    ("client-go-0.36-list", RICH_POLICY, 4798),
    ("client-go-0.28-list", NAMESPACE, 5795),
    ("client-go-0.28-list", LARGE, 20671),
    ("client-go-0.28-list", RICH_POLICY, 6369),
    ("kube-rs-5.0", NAMESPACE, 6512),
    ("kube-rs-5.0", LARGE, 10398),
    ("kube-rs-5.0", RICH_POLICY, 8204),
    ("kube-rs-0.88", NAMESPACE, 12387),
    ("kube-rs-0.88", LARGE, 19487),
    ("kube-rs-0.88", RICH_POLICY, 16358),
    ("python-37", NAMESPACE, 10894),
    ("python-37", LARGE, 13819),
    ("python-37", RICH_POLICY, 14588),
    ("fabric8-7.9", NAMESPACE, 9922),
    ("fabric8-7.9", LARGE, 24483),
    ("fabric8-7.9", RICH_POLICY, 10226),
]

# (row, stored bytes, peak of the process at the re-list in MiB, its idle resident set in MiB)
RELIST = [
    ("client-go-0.36-streaming", NAMESPACE, 143, 24),
    ("client-go-0.36-streaming", NAMESPACE, 155, 24),
    ("client-go-0.36-streaming", NAMESPACE, 156, 24),
    ("client-go-0.36-streaming", NAMESPACE, 135, 24),
    ("client-go-0.36-streaming", NAMESPACE, 137, 24),
    ("client-go-0.36-streaming", POLICY, 139, 24),
    ("client-go-0.36-streaming", POLICY, 156, 24),
    ("client-go-0.36-list", NAMESPACE, 199, 24),
    ("client-go-0.36-list", NAMESPACE, 170, 24),
    ("client-go-0.36-list", NAMESPACE, 174, 24),
    ("client-go-0.36-list", POLICY, 152, 24),
    ("client-go-0.36-list", POLICY, 162, 24),
    ("client-go-0.28-list", NAMESPACE, 213, 24),
    ("client-go-0.28-list", POLICY, 218, 24),
    ("kube-rs-5.0", NAMESPACE, 262, 8),
    ("kube-rs-5.0", POLICY, 255, 8),
    ("kube-rs-0.88", NAMESPACE, 386, 8),
    ("kube-rs-0.88", POLICY, 408, 8),
    ("python-37", NAMESPACE, 516, 67),
    ("fabric8-7.9", NAMESPACE, 496, 153),
    ("fabric8-7.9", NAMESPACE, 468, 153),
    ("fabric8-7.9", POLICY, 486, 153),
    # bench/calibration
    ("client-go-0.36-streaming", NAMESPACE, 159, 22),
    ("client-go-0.36-streaming", LARGE, 370, 22),
    ("client-go-0.36-streaming", RICH_POLICY, 164, 22),
    ("client-go-0.36-list", NAMESPACE, 202, 23),
    ("client-go-0.36-list", LARGE, 574, 23),
    ("client-go-0.36-list", RICH_POLICY, 177, 22),
    ("client-go-0.28-list", NAMESPACE, 213, 31),
    ("client-go-0.28-list", LARGE, 536, 31),
    ("client-go-0.28-list", RICH_POLICY, 232, 30),
    ("kube-rs-5.0", NAMESPACE, 254, 8),
    ("kube-rs-5.0", LARGE, 395, 9),
    ("kube-rs-5.0", RICH_POLICY, 319, 9),
    ("kube-rs-0.88", NAMESPACE, 375, 7),
    ("kube-rs-0.88", LARGE, 578, 7),
    ("kube-rs-0.88", RICH_POLICY, 485, 7),
    ("python-37", NAMESPACE, 501, 67),
    ("python-37", LARGE, 747, 67),
    ("python-37", RICH_POLICY, 574, 50),
    ("fabric8-7.9", NAMESPACE, 562, 158),
    ("fabric8-7.9", LARGE, 998, 150),
    ("fabric8-7.9", RICH_POLICY, 534, 165),
]

WITHIN = 0.30


@pytest.mark.parametrize(("row_id", "stored", "measured"), STEADY)
def test_steady_cost_of_an_object_is_what_was_measured(row_id: str, stored: int, measured: int) -> None:
    row = load_calibration().row(row_id)
    assert float(row.overhead_bytes + row.factor * stored) == pytest.approx(measured, rel=WITHIN)


@pytest.mark.parametrize(("row_id", "stored", "peak_mib", "base_mib"), RELIST)
def test_peak_of_a_relist_is_what_was_measured(
    row_id: str, stored: int, peak_mib: int, base_mib: int
) -> None:
    row = load_calibration().row(row_id)
    measured = (peak_mib - base_mib) * MIB / OBJECTS
    predicted = float(row.relist_peak * (row.overhead_bytes + row.factor * stored))
    assert predicted == pytest.approx(measured, rel=WITHIN)


@pytest.mark.parametrize(("row_id", "stored", "peak_mib", "base_mib"), RELIST)
def test_a_limit_of_base_and_peak_is_near_the_whole_process(
    row_id: str, stored: int, peak_mib: int, base_mib: int
) -> None:
    row = load_calibration().row(row_id)
    needed = row.base_bytes + OBJECTS * row.relist_peak * (row.overhead_bytes + row.factor * stored)
    assert float(needed) / MIB == pytest.approx(peak_mib, rel=WITHIN)


def test_every_row_is_measured_here() -> None:
    rows = {row.id for row in load_calibration().rows}
    assert rows == {row_id for row_id, *_ in STEADY} == {row_id for row_id, *_ in RELIST}


def test_the_order_of_the_client_libraries_is_the_measured_one() -> None:
    calibration = load_calibration()

    def cost(row_id: str) -> float:
        row = calibration.row(row_id)
        return float(row.overhead_bytes + row.factor * NAMESPACE)

    assert (
        cost("client-go-0.36-streaming")
        < cost("client-go-0.36-list")
        < cost("kube-rs-5.0")
        < cost("fabric8-7.9")
        < cost("python-37")
        < cost("kube-rs-0.88")
    )


def test_an_unknown_library_gets_the_default_row_and_says_so() -> None:
    calibration = load_calibration()
    assert calibration.for_stack("kube-rs") == (calibration.row("kube-rs-5.0"), False)
    assert calibration.for_stack(None) == (calibration.row(calibration.assumed), True)
    assert calibration.for_stack("cobol") == (calibration.row(calibration.assumed), True)


def test_a_missing_row_is_an_error() -> None:
    with pytest.raises(KeyError):
        load_calibration().row("client-go-9")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"assumed": "nobody"}, "nobody does not exist"),
        ({"rows": [{}]}, "overheadBytes"),
        ({"extra": 1}, "extra"),
        ({"row": {"relistPeak": 0.9}}, "greater than or equal to 1"),
        ({"row": {"overheadBytes": -1}}, "greater than or equal to 0"),
        ({"row": {"factor": "much"}}, "factor"),
        ({"row": {"id": "kube-rs-5.0"}}, "named twice: kube-rs-5.0"),
        ({"row": {"stacks": ["python"]}}, "named twice: python"),
        ({"row": {"stacks": []}}, "stacks"),
    ],
)
def test_a_broken_data_file_is_refused_with_a_reason(change: dict[str, object], complaint: str) -> None:
    raw = yaml.safe_load(load_calibration().model_dump_json(by_alias=True))
    row_change = change.pop("row", {})
    raw["rows"][0].update(row_change)
    with pytest.raises(ValidationError, match=complaint):
        Calibration.model_validate(raw | change)
