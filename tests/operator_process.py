"""The operator process for tests: whatever a test is about, it never reads what it may not."""

from __future__ import annotations

from pathlib import Path

from reads import forbidden_reads
from watchbudget.localcluster import operator_process
from watchbudget.localcluster.operator_process import NAMESPACE, USER, install, manifests

__all__ = ["NAMESPACE", "ROOT", "USER", "OperatorProcess", "install", "manifests"]

ROOT = Path(__file__).parents[1]


class OperatorProcess(operator_process.OperatorProcess):
    """One replica; at its end the cluster's audit log is looked through."""

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        if not any(raised):
            found = forbidden_reads(self.cluster)
            assert not found, found
