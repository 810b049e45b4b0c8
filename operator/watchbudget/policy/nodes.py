"""What the caches of all governed DaemonSets come to on one node, and on all of them.

Which DaemonSets meet on a node is a question of node selectors: two that ask for different values of
one label never do. Affinity and taints are not read, so the worst node is an upper bound: no node
can cost more, a real one may cost less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Ledger", "Share"]

NodeSelector = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What one DaemonSet adds: cache bytes per pod, on how many nodes, of which kind."""

    cache_per_pod: int
    nodes: int
    node_selector: NodeSelector = ()


class Ledger:
    """The shares of the DaemonSets that one budget governs, by namespace and name.

    Each DaemonSet with a node selector is entered under one of its labels, the one with the most values
    in the fleet, because that one tells nodes apart best. A node has one value of each label, so
    it cannot cost more than everything without a selector and, of each label, the dearest
    value. That takes one pass, where trying all combinations of labels would never end.
    """

    def __init__(self, shares: Iterable[tuple[tuple[str, str], Share]] = ()) -> None:
        self._shares = tuple(shares)
        # Values are counted whether or not they cost anything today: with more objects, no sum may fall.
        values: dict[str, set[str]] = defaultdict(set)
        for _, share in self._shares:
            for label, value in share.node_selector:
                values[label].add(value)
        self._everywhere = 0
        self._by_label: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for _, share in self._shares:
            if not share.nodes:
                continue
            if not share.node_selector:
                self._everywhere += share.cache_per_pod
                continue
            label, value = max(share.node_selector, key=lambda pair: (len(values[pair[0]]), pair))
            self._by_label[label][value] += share.cache_per_pod
        self._dearest = {label: max(sums.values()) for label, sums in self._by_label.items()}
        self.total = sum(share.cache_per_pod * share.nodes for _, share in self._shares)
        """Cache bytes on all nodes together."""
        self.worst_node = self._everywhere + sum(self._dearest.values())
        """Cache bytes that no node exceeds."""

    def node_of(self, node_selector: NodeSelector) -> int:
        """Cache bytes that no node with these labels exceeds."""
        wanted = dict(node_selector)
        return self._everywhere + sum(
            sums.get(wanted[label], 0) if label in wanted else self._dearest[label]
            for label, sums in self._by_label.items()
        )

    def replacing(self, key: tuple[str, str], share: Share) -> Ledger:
        """The same ledger with one DaemonSet's share put in or exchanged, as admission needs it."""
        return Ledger((*(entry for entry in self._shares if entry[0] != key), (key, share)))
