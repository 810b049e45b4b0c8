from pathlib import Path

import yaml

from watchbudget.localcluster import provision


def test_pods_ready_and_deleted_after_a_delay_of_their_own():
    stages = {
        each["metadata"]["name"]: each
        for each in yaml.safe_load_all((Path(provision._DATA) / "stages.yaml").read_text())
    }
    names = {"node-initialize", "pod-ready", "agent-running", "agent-ready", "pod-crash", "pod-delete"}
    assert set(stages) == names
    for name in ("pod-ready", "agent-running", "pod-delete"):
        delay = stages[name]["spec"]["delay"]["durationFrom"]["expressionFrom"]
        assert f"{name}.stage.kwok.x-k8s.io/delay" in delay
