"""HTTP of processes: over TLS, and what one knows of the time before it was started."""

import http.client
import shutil
import ssl
from contextlib import closing

import pytest

from sentinel_py.local import HOST, eventually, raft_peers, wait_ready

from .certificates import make_pair
from .group import FAILOVER_WITHIN_MS, NAME, ask, master_port, settle, start_cluster, watch
from .members import follower_of
from .web import LOGINS, TOKEN, WITHIN_S, Http, start


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")
def test_https(sandbox, tmp_path):
    """With the certificate of the RESP port; without one it does not start, and says why."""
    pair = make_pair(tmp_path, "here")
    certificate = [f"{name} {value}" for name, value in pair.directives().items()]
    sentinel, plain = start(sandbox, [*certificate, *LOGINS, "sentinel http-tls yes"])
    assert f"HTTPS on port {plain.port}" in sentinel.log
    trusted = ssl.create_default_context(cafile=pair.authority)
    trusted.check_hostname = False
    for path, first in (("/", b"<!doctype html>"), ("/metrics", b"# HELP"), ("/events", b"retry")):
        connection = http.client.HTTPSConnection(
            HOST, plain.port, timeout=WITHIN_S, context=trusted
        )
        with closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            assert (answer.status, answer.readline()[: len(first)].lower()) == (200, first.lower())
    with pytest.raises((http.client.HTTPException, OSError)):
        plain("GET", "/")
    assert "Traceback" not in sentinel.log
    bare = sandbox.sentinel([f"sentinel http-port {sandbox.port()}", "sentinel http-tls yes"])
    eventually(lambda: "No tls-cert-file configured!" in bare.log)
    assert "Traceback" not in bare.log


def test_a_new_process_tells_what_was_before(sandbox):
    """A Raft member that is started again has the history, and the phases of past failovers."""
    cluster = start_cluster(sandbox, replicas=1)
    ports, web_ports = ([sandbox.port() for _ in range(3)] for _ in range(2))
    lines = [*watch(cluster), *LOGINS, raft_peers(ports)]
    members = [
        sandbox.sentinel([*lines, f"sentinel http-port {web}"], port=port)
        for port, web in zip(ports, web_ports, strict=True)
    ]
    wait_ready(members)
    settle(members, cluster)
    leader, follower = follower_of(members)
    ask(leader, "SENTINEL", "FAILOVER", NAME)
    client = Http(web_ports[ports.index(follower.port)])
    (new,) = cluster.replicas

    def told():
        found = client.get("/api/v1/failovers")["failovers"]
        return [(each["to"], [phase["name"] for phase in each["phases"]]) for each in found]

    phases = ["election", "choice", "promotion", "reconfiguration"]
    eventually(lambda: told() == [(new.address, phases)], FAILOVER_WITHIN_MS, "failover told")
    history = client.get("/history")["events"]
    follower.terminate()
    follower.start()
    wait_ready([follower])
    eventually(lambda: told() == [(new.address, phases)], what="failover told again")
    assert client.get("/history")["events"][: len(history)] == history
    assert master_port(follower) == new.port
