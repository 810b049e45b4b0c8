"""Raw objects into the values of the Fleet: one reading for the live cluster and for files.

Every function takes `(raw, source, problems, *, namespace)`, adds what is wrong to `problems` with
the exact field, and returns None only for what cannot be used at all. Raw objects are mappings
with `apiVersion` and `kind`, which decide between the kinds and versions a function reads.
"""

from __future__ import annotations

from watchbudget.inventory.parse_config import config_map, limit_range, namespace_labels, service_account
from watchbudget.inventory.parse_rbac import binding, role
from watchbudget.inventory.parse_workload import WORKLOAD_KINDS, daemon_set, workload_account

__all__ = [
    "WORKLOAD_KINDS",
    "binding",
    "config_map",
    "daemon_set",
    "limit_range",
    "namespace_labels",
    "role",
    "service_account",
    "workload_account",
]
