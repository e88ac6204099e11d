"""The master as a service in Consul, over a failover; the agent is a small fake."""

import os
import signal

from discovery.consul_like import ConsulLike

from sentinel_py.local import HOST, eventually

from .group import FAILOVER_WITHIN_MS, NAME, new_master
from .leading import Program, naming


def test_the_service_follows_the_master(redis_cluster, sentinels, tmp_path):
    """Critical from the switch until the new one is known; taken back at the end."""
    env = {**os.environ, "CONSUL_HTTP_TOKEN": "open-sesame"}
    with ConsulLike().serving() as agent:
        options = ["--url", agent.url, "--service", "cache", *naming(sentinels)]
        with Program(tmp_path, "consul", NAME, *options, env=env) as leader:
            eventually(lambda: agent.passing() == [redis_cluster.master.address])
            redis_cluster.master.kill()
            port = new_master(sentinels, redis_cluster.master)
            eventually(lambda: agent.passing() == [f"{HOST}:{port}"], FAILOVER_WITHIN_MS)
            assert leader.end(signal.SIGTERM) == 0
            assert "Traceback" not in leader.printed
            assert "open-sesame" not in leader.printed
        assert not agent.services
        assert {token for _, _, token in agent.requests} == {"open-sesame"}
