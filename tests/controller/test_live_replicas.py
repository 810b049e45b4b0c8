"""Several replicas on the real API server: one writes, whatever happens to it; all answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from api_proxy import ApiProxy
from operator_process import install
from replicas import (
    LEASE_PATH,
    Replica,
    Reviewer,
    eventually,
    judged_anew,
    moment,
    put_budget,
    received,
    sent_by,
    writes,
)
from watchbudget.localcluster import LocalCluster


@pytest.fixture(scope="module")
def cluster(control_plane: None) -> Iterator[LocalCluster]:
    with LocalCluster() as started:
        started.add_nodes(3)
        yield started


def test_one_writes_whatever_happens_to_it(cluster: LocalCluster):
    """Killed, paused for a minute, cut off, ended. By the times of production: three Leases run out."""
    with (
        ApiProxy(cluster) as proxy,
        Replica(cluster, name="first") as first,
        Replica(cluster, name="same", installed=True) as second,
    ):
        assert sent_by(judged_anew(cluster), first)
        assert writes(cluster, second) == []

        first.kill()
        assert sent_by(judged_anew(cluster), second)

        # by mistake, with the name of the second
        with Replica(cluster, name="same", installed=True, proxy=proxy) as third:
            install(cluster, third.port)
            assert writes(cluster, third) == []
            paused_and_cut_off(cluster, proxy, second, third)
            second.signal(signal.SIGTERM)
            assert second.process is not None
            assert second.process.wait(15) == 0
            assert sent_by(judged_anew(cluster, seconds=8), third)  # nobody waits for the Lease to run out
        assert cluster.request("GET", LEASE_PATH).json()["spec"]["holderIdentity"] == ""
        never_two_at_once(cluster, first, second, third)


def paused_and_cut_off(cluster: LocalCluster, proxy: ApiProxy, second: Replica, third: Replica) -> None:
    second.signal(signal.SIGSTOP)
    stopped = moment()
    while (moment() - stopped).total_seconds() < 60:
        assert sent_by(judged_anew(cluster), third)
        time.sleep(5)
    second.signal(signal.SIGCONT)
    for _ in range(3):
        assert sent_by(judged_anew(cluster), third)
    assert [each for each in writes(cluster, second) if received(each) > stopped] == []
    assert second.metric("watchbudget_leading") == 0.0

    put_budget(cluster, "strict", enforcement={"action": "Deny"})
    eventually(lambda: 'budget="strict"' in third.probe("/metrics")[1])
    with Reviewer(third) as reviewer:
        proxy.cut_off()
        cut = moment()
        assert sent_by(judged_anew(cluster), second)
        reviewer.wait_for(10)
        assert third.probe("/readyz")[0] == 200
        proxy.restore()
        for _ in range(3):
            assert sent_by(judged_anew(cluster), second)
        eventually(lambda: third.metric("watchbudget_leading") == 0.0)
    assert set(reviewer.answers) == {"denied"}  # from memory
    assert [each for each in writes(cluster, third) if received(each) > cut] == []
    cluster.kubectl("delete", "wb", "strict")
    eventually(lambda: 'budget="strict"' not in third.probe("/metrics")[1])  # it hears of things again


def never_two_at_once(cluster: LocalCluster, *replicas: Replica) -> None:
    """Over the whole story: each one's writes end before the next one's begin."""
    order = [
        replica
        for event in sorted(writes(cluster), key=received)
        for replica in replicas
        if sent_by(event, replica)
    ]
    first, second, third = replicas
    changes = [after for before, after in pairwise([None, *order]) if after is not before]
    assert changes == [first, second, third, second, third]


def test_sigterm_ends_it_without_a_failed_request(cluster: LocalCluster):
    with Replica(cluster, "--drain=2s") as replica:
        put_budget(cluster, "strict", enforcement={"action": "Deny"})
        with Reviewer(replica) as one, Reviewer(replica, keep=False) as many:
            one.wait_for(5)
            many.wait_for(5)
            told = moment()
            replica.signal(signal.SIGTERM)
            eventually(lambda: replica.probe("/readyz") == (503, "not ready: shutting down\n"))
            ending = moment()
            time.sleep(1)
            many.wait_for(5)  # API servers still learn of it
            assert "not connected" not in one.answers + many.answers
            assert replica.process is not None
            assert replica.process.wait(15) == 0
        assert set(one.answers + many.answers) <= {"denied", "not connected"}
        assert cluster.request("GET", LEASE_PATH).json()["spec"]["holderIdentity"] == ""
        done = sorted((received(each), each["objectRef"]["resource"]) for each in writes(cluster, replica))
        assert {what for at, what in done if at > ending} <= {"leases"}
        assert [what for at, what in done if at > told][-1] == "leases"  # given away, when all else was done
        cluster.kubectl("delete", "wb", "strict")


def test_sigterm_ends_it_also_before_it_is_ready(cluster: LocalCluster):
    with ApiProxy(cluster) as proxy:
        proxy.cut_off()
        replica = Replica(cluster, proxy=proxy)
        install(cluster, replica.port)
        try:
            for asked in (0, 1):
                replica.start()
                eventually(lambda: replica.probe("/livez")[0] == 200)
                eventually(lambda asked=asked: len(proxy.seen) >= asked)
                assert replica.probe("/readyz")[0] == 503
                assert replica.stop() == 0, replica.output()
        finally:
            replica.__exit__()
    assert "Traceback" not in replica.output()
