"""What the caches of all governed DaemonSets come to on one node, and on all of them.

Which DaemonSets meet on a node is a question of node selectors: two that ask for different values of
one label never do. Affinity and taints are not read, so the worst node is an upper bound: no node
can cost more, a real one may cost less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct, field
from msgspec.structs import replace

__all__ = ["Ledger", "Share"]

NodeSelector = tuple[tuple[str, str], ...]
Key = tuple[str, str]
Table = Mapping[str, Mapping[str, int]]
"""Numbers by label and its value; none is 0, and no label is without values."""


class Share(Struct, frozen=True):
    """What one DaemonSet adds: cache bytes per pod, on how many nodes, of which kind."""

    cache_per_pod: int
    nodes: int
    node_selector: NodeSelector = ()

    @property
    def everywhere(self) -> int:
        """Cache bytes on every node; none where a selector says which nodes."""
        return self.cache_per_pod if self.nodes and not self.node_selector else 0

    @property
    def total(self) -> int:
        """Cache bytes on all its nodes."""
        return self.cache_per_pod * self.nodes


class Ledger(Struct, frozen=True, eq=False, kw_only=True, dict=True):
    """The shares of the DaemonSets that one budget governs, by namespace and name. Made by `of`.

    Each DaemonSet with a node selector is entered under one of its labels, the one with the most values
    in the fleet, because that one tells nodes apart best. A node has one value of each label, so
    it cannot cost more than everything without a selector and, of each label, the dearest
    value. That takes one pass, where trying all combinations of labels would never end.

    Attributes:
        total: cache bytes on all nodes together.
    """

    total: int = 0
    _shares: Mapping[Key, Sequence[Share]] = field(default_factory=dict)
    _replaced: Mapping[Key, Sequence[Share]] = field(default_factory=dict)  # instead of some of them
    _values: Table = field(default_factory=dict)
    _by_label: Table = field(default_factory=dict)
    _everywhere: int = 0

    @classmethod
    def of(cls, shares: Iterable[tuple[Key, Share]]) -> Ledger:
        """Enter shares; of two manifests of one name both count."""
        by_key: dict[Key, list[Share]] = {}
        selective: list[Share] = []
        total = everywhere = 0
        for key, share in shares:
            by_key.setdefault(key, []).append(share)
            total += share.total
            everywhere += share.everywhere
            if share.node_selector:
                selective.append(share)
        values = _added({}, _values(selective, 1))
        return cls(
            total=total,
            _shares=by_key,
            _values=values,
            _by_label=_added({}, _sums(selective, values, 1)),
            _everywhere=everywhere,
        )

    @property
    def worst_node(self) -> int:
        """Cache bytes that no node exceeds."""
        return self.node_of(())

    def node_of(self, node_selector: NodeSelector) -> int:
        """Cache bytes that no node with these labels exceeds."""
        wanted = dict(node_selector)
        return self._everywhere + sum(
            self._by_label[label].get(wanted[label], 0) if label in wanted else dearest
            for label, dearest in self._dearest.items()
        )

    @cached_property
    def _dearest(self) -> Mapping[str, int]:
        return {label: max(sums.values()) for label, sums in self._by_label.items()}

    def replacing(self, key: Key, share: Share) -> Ledger:
        """The same ledger with one DaemonSet's share put in or exchanged, as admission needs it.

        It takes as long as there are labels, not DaemonSets: admission asks it for every budget.
        """
        gone = self._replaced.get(key) or self._shares.get(key, ())
        replaced = {**self._replaced, key: (share,)}
        found = replace(
            self,
            total=self.total + share.total - sum(each.total for each in gone),
            _replaced=replaced,
            _everywhere=self._everywhere + share.everywhere - sum(each.everywhere for each in gone),
        )
        if not share.node_selector and not any(each.node_selector for each in gone):  # as of most
            vars(found)["_dearest"] = self._dearest  # no label costs more or less
            return found
        values = _added(self._values, (*_values(gone, -1), *_values((share,), 1)))
        if not _ranked_alike(self._values, values):  # seldom: others must be entered under another label
            shares = {**self._shares, **replaced}
            return Ledger.of((key, each) for key, its in shares.items() for each in its)
        sums = (*_sums(gone, self._values, -1), *_sums((share,), values, 1))
        return replace(found, _values=values, _by_label=_added(self._by_label, sums))


def _values(shares: Iterable[Share], sign: int) -> Iterator[tuple[str, str, int]]:
    """How often each label value is asked for.

    Counted whether or not it costs anything today: with more objects, no sum may fall.
    """
    return ((label, value, sign) for share in shares for label, value in share.node_selector)


def _sums(shares: Iterable[Share], values: Table, sign: int) -> Iterator[tuple[str, str, int]]:
    """Cache bytes, each under the label of its selector that has the most values."""
    for share in shares:
        if share.nodes and share.node_selector:
            label, value = max(share.node_selector, key=lambda pair: _rank(values, pair[0]))
            yield label, value, sign * share.cache_per_pod


def _rank(values: Table, label: str) -> tuple[int, str]:
    return len(values[label]), label


def _ranked_alike(before: Table, after: Table) -> bool:
    """Whether every selector made of labels that both know chooses the same one of them."""
    common = before.keys() & after.keys()
    return sorted(common, key=lambda label: _rank(before, label)) == sorted(
        common, key=lambda label: _rank(after, label)
    )


def _added(table: Table, entries: Iterable[tuple[str, str, int]]) -> Table:
    """The table with numbers added. Labels that none is added to are shared with the one before."""
    touched: dict[str, dict[str, int]] = {}
    for label, value, number in entries:
        if label not in touched:
            touched[label] = dict(table.get(label, {}))
        touched[label][value] = touched[label].get(value, 0) + number
    kept = {
        label: {value: number for value, number in sums.items() if number} for label, sums in touched.items()
    }
    return {label: sums for label, sums in {**table, **kept}.items() if sums}
