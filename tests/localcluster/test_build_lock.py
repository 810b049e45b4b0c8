"""Two processes that want to build at once: one builds, the other waits and then finds it done."""

import subprocess
import sys
from pathlib import Path

import pytest

BUILDER = """
import sys
from pathlib import Path
from watchbudget.localcluster import binaries
binaries.find_go = lambda: Path(sys.argv[1])
binaries.ensure_binaries(lambda text: print(text, flush=True))
"""

GO = """#!/bin/sh
echo run >> "$0.runs"
while [ "$1" != -o ]; do shift; done
out=$2; shift 2
sleep 1
for package; do name=${package##*/}; echo "#!/bin/sh" > "$out$name"; chmod +x "$out$name"; done
"""


def test_the_second_builder_waits_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WATCHBUDGET_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    go = tmp_path / "go"
    go.write_text(GO)
    go.chmod(0o755)
    argv = [sys.executable, "-c", BUILDER, str(go)]
    builders = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [builder.communicate(timeout=60)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert (tmp_path / "go.runs").read_text().splitlines() == ["run"]
    assert sum("Another process builds" in output for output in outputs) == 1
