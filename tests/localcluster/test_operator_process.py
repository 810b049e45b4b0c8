"""The operator beside a local cluster: it starts as installed, and ends with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

_CHILD = """
import time
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.operator_process import OperatorProcess
with LocalCluster() as cluster, OperatorProcess(cluster) as operator:
    print(operator.process.pid, flush=True)
    time.sleep(300)
"""


def running(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_it_does_not_outlive_whoever_started_it_even_if_that_is_killed(control_plane: None):
    parent = subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert running(pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    while running(pid):
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.1)
