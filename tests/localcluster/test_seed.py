import pytest

from watchbudget.localcluster.errors import LocalClusterError
from watchbudget.localcluster.seed import SeedPlan, namespace, network_policy, padding


def varint(length: int) -> int:
    return max(1, (length.bit_length() + 6) // 7)


def protobuf_like(base: int):
    """Size of an object with a padded string in a map entry in a message, each with its length before it."""

    def measure(pad: int) -> int:
        string = pad + varint(pad)
        entry = string + varint(string + 10)
        return base + entry + varint(base + entry)

    return measure


@pytest.mark.parametrize("wanted", [500, 629, 700, 1000, 10_000, 17_000, 200_000])
def test_padding_hits_the_size(wanted: int):
    measure = protobuf_like(400)
    assert abs(measure(padding(wanted, measure)) - wanted) <= 1


def test_an_object_cannot_be_smaller_than_it_is():
    with pytest.raises(LocalClusterError, match="bytes; 100 were asked for"):
        padding(100, protobuf_like(400))


def test_plan_counts_both_kinds():
    assert SeedPlan(namespaces=10, network_policies_per_namespace=3).objects == 40


def test_names_are_deterministic_and_sizes_do_not_depend_on_the_number():
    assert namespace(7, 0)["metadata"]["name"] == "wb-seed-00007"
    assert network_policy(7, 2, 0)["metadata"]["namespace"] == "wb-seed-00007"
    assert len({len(repr(namespace(number, 5))) for number in (1, 99, 4321, 99_999)}) == 1
