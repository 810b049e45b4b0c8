"""The operator process under a short name, for tests."""

from __future__ import annotations

from pathlib import Path

from watchbudget.localcluster.operator_process import NAMESPACE, USER, OperatorProcess, install, manifests

__all__ = ["NAMESPACE", "ROOT", "USER", "OperatorProcess", "install", "manifests"]

ROOT = Path(__file__).parents[1]
