"""Figures are values that were measured, and no peak is lost."""

from hypothesis import given
from hypothesis import strategies as st

from watchbudget.localcluster.play.curves import integral, outline, peak, percentile, steps


def test_percentiles_are_values_that_were_measured():
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0


def test_a_step_function_is_integrated_from_the_value_it_has_at_the_beginning():
    nodes_without = [(0.0, 5), (10.0, 3), (12.0, 0)]
    assert integral(nodes_without, 8.0, 20.0) == 2 * 5 + 2 * 3
    assert integral(nodes_without, 11.0, 11.5) == 0.5 * 3
    assert integral([], 0.0, 5.0) == 0.0


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([1, -1])), max_size=60))
def test_an_outline_never_hides_a_peak(changes: list[tuple[int, int]]):
    found = steps([(float(at), delta) for at, delta in changes])
    lines = outline(found, [10.0, 20.0, 30.0, 40.0, 50.0], 0)
    assert max(lines) == max(0, peak(found))
    assert len(lines) == 5
