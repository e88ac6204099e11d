"""What the project is installed with: wheel, container, Kubernetes, systemd, shell."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

import sentinel_py
from sentinel_py.config import config, directives
from sentinel_py.core.model import State
from sentinel_py.local import HOST, READY_WITHIN_MS, Server, wait_ready

from .group import NAME, ask, master_row, settle, start_cluster
from .members import leader_of

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
COMPOSE = PACKAGING / "compose" / "compose.yaml"
MANIFEST = PACKAGING / "kubernetes" / "sentinel.yaml"
UNIT = PACKAGING / "systemd" / "sentinel-py.service"
DEBIANS_UNIT = Path("/lib/systemd/system/redis-sentinel.service")
ORIGINAL = ["redis-sentinel"]
HEALTHCHECK = PACKAGING / "healthcheck.py"
INSTALLS_WITHIN_S = 240
RUNS_WITHIN_S = 30
UNREACHABLE = re.compile(
    "No matching distribution|NewConnectionError|Connection refused|Temporary failure in name"
    "|Read timed out|ProxyError|SSLError"
)


def run(*argv, within_s=RUNS_WITHIN_S, **options):
    return subprocess.run(
        [*map(str, argv)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        **options,
    )


def started(box, argv, port, folder):
    """Run this program until the sandbox ends, and wait until it answers on the port."""
    server = Server("packaged", [*map(str, argv)], port, folder)
    box.servers.append(server)
    wait_ready([server.start()])
    return server


# pip ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(INSTALLS_WITHIN_S * 2)
def test_the_wheel_works_in_an_environment_of_its_own(sandbox, tmp_path):
    """Built, installed with what it needs and nothing else, and started."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def pip(python, *words):
        done = run(
            *(python, "-m", "pip", "--disable-pip-version-check", "--quiet", *words),
            within_s=INSTALLS_WITHIN_S,
            env=environment,
            cwd=tmp_path,
        )
        return done.returncode, done.stdout + done.stderr

    status, said = pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    if status and UNREACHABLE.search(said):
        pytest.skip(f"no package index: {said.strip().splitlines()[-1]}")
    assert status == 0, said
    (wheel,) = tmp_path.glob("*.whl")
    package = [path for path in (ROOT / "sentinel_py").rglob("*.*") if path.suffix != ".pyc"]
    missing = {str(path.relative_to(ROOT)) for path in package} - set(ZipFile(wheel).namelist())
    assert not missing
    clean = tmp_path / "clean"
    made = run(sys.executable, "-m", "venv", clean, within_s=INSTALLS_WITHIN_S)
    assert made.returncode == 0, made.stderr
    python, program = clean / "bin" / "python", clean / "bin" / "sentinel-py"
    for words in (("install", wheel), ("check",)):
        status, said = pip(python, *words)
        assert status == 0, said

    version = run(program, "--version", env=environment)
    assert version.stdout.strip().endswith(f"(sentinel_py {sentinel_py.__version__})")
    for command in ("status", "import", "demo"):
        helped = run(program, command, "--help", env=environment)
        assert (helped.returncode, helped.stderr) == (0, ""), command
        assert helped.stdout.startswith("Usage: sentinel-py")

    cluster = start_cluster(sandbox, replicas=1)
    lines = [f"sentinel monitor {NAME} {HOST} {cluster.master.port} 1"]
    sentinel = sandbox.sentinel(lines, program=[str(program)])
    wait_ready([sentinel])
    settle([sentinel], cluster)


# From redis-sentinel ------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which(*ORIGINAL), reason="no redis-sentinel on PATH")
def test_the_file_of_a_redis_sentinel_is_taken_over_whole(sandbox, ours):
    """With all that it has found out; our own sentinel goes on with it under the same id."""
    cluster = start_cluster(sandbox, replicas=1)
    lines = [f"sentinel monitor {NAME} {HOST} {cluster.master.port} 1"]
    sentinel = sandbox.sentinel(lines, program=ORIGINAL)
    wait_ready([sentinel])
    settle([sentinel], cluster)
    myid = ask(sentinel, "SENTINEL", "MYID")
    sentinel.terminate()

    conf, new = (sentinel.folder / name for name in ("sentinel.conf", "new.conf"))
    done = run(*ours, "import", conf, "--into", new)
    assert (done.returncode, done.stderr) == (0, "")
    assert ", 0 refused." in done.stdout
    assert f"Watches {NAME} at {cluster.master.address}, quorum 1, epoch 0," in done.stdout
    sentinel.argv = (*ours, str(new))
    wait_ready([sentinel.start()])
    assert ask(sentinel, "SENTINEL", "MYID") == myid
    settle([sentinel], cluster)


# The container -----------------------------------------------------------------------------------


def instructions(name):
    """What stands behind this word in the Dockerfile; lines that go on are joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]


def test_the_image_gets_only_files_that_are_there():
    """And `.dockerignore` lets them through."""
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    own = [words for words in map(str.split, instructions("COPY")) if "--from=" not in words[0]]
    for *sources, _ in own:
        for source in sources:
            assert (ROOT / source).exists()
            assert any(f"{source}/".startswith(f"{path}/") for path in allowed), source


def test_the_image_does_not_run_as_root():
    """Neither at the start nor by a later word."""
    assert instructions("USER") == ["26379:26379"]
    assert "--uid 26379" in " ".join(instructions("RUN"))


def test_the_image_starts_with_a_file_that_it_only_reads(sandbox, ours, tmp_path):
    """The command of the image, with paths of the test; its state comes to the volume."""
    (command,) = map(json.loads, instructions("CMD"))
    conf, data, port = tmp_path / "sentinel.conf", tmp_path / "data", sandbox.port()
    example = (ROOT / "conf" / "sentinel.conf").read_text()
    example = example.replace("port 26379\n", f"port {port}\nbind {HOST}\n", 1)
    conf.write_text(example.replace("sentinel raft-peers", "# sentinel raft-peers"))
    before = conf.read_bytes()
    data.mkdir()
    assert instructions("VOLUME") == ["/data"]
    paths = {"sentinel-py": ours[0], "/etc/sentinel/sentinel.conf": conf, "/data": data}
    assert set(paths) <= set(command)
    started(sandbox, [paths.get(word, word) for word in command], port, data)
    assert (data / f"sentinel-{port}.conf").exists()
    assert conf.read_bytes() == before


def test_the_health_check_tells_a_sentinel_that_answers_from_one_that_does_not(sandbox, ours):
    """Asked of a running one, with a password and without, a frozen one and none at all."""

    def health(port):
        return run(sys.executable, HEALTHCHECK, port)

    sentinel = sandbox.sentinel([], program=ours)
    closed = sandbox.sentinel(["requirepass secret"], program=ours)
    wait_ready([sentinel, closed])
    assert [health(server.port).returncode for server in (sentinel, closed)] == [0, 0]
    sentinel.pause()
    frozen = health(sentinel.port)
    sentinel.kill()
    gone = health(sentinel.port)
    for sick in (frozen, gone):
        assert sick.returncode == 1
        assert sick.stderr.startswith(f"no answer on port {sentinel.port}: ")
        assert sick.stderr.count("\n") == 1


# Three hosts -------------------------------------------------------------------------------------


def compose():
    return yaml.safe_load(COMPOSE.read_text())


def manifests():
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def compose_conf():
    return (COMPOSE.parent / "sentinel.conf").read_text()


def manifest_conf():
    return manifests()["ConfigMap", "sentinel"]["data"]["sentinel.conf"]


@pytest.fixture
def understood(tmp_path, monkeypatch):
    """The state that a config file of this text makes; its names resolve to nothing here."""
    monkeypatch.chdir(tmp_path)

    def understood(text):
        (tmp_path / "sentinel.conf").write_text(text)
        state = State(myid="")
        loaded = config.load("sentinel.conf")
        directives.apply(loaded.statements, state, now=0, resolve=lambda _: None)
        return state

    return understood


def test_compose_has_three_hosts(understood):
    """Each sentinel has a volume of its own and the same file, which it cannot write."""
    services = compose()["services"]
    sentinels = [name for name in services if name.startswith("sentinel-")]
    assert [len(services), len(sentinels)] == [6, 3]
    state = understood(compose_conf())
    assert state.settings.raft_peers == [f"{name}:26379" for name in sentinels]
    assert state.masters[NAME].address.host in services
    for name in sentinels:
        assert services[name]["volumes"] == [
            "./sentinel.conf:/etc/sentinel/sentinel.conf:ro",
            f"{name}:/data",
        ]
        assert name in compose()["volumes"]
        assert (COMPOSE.parent / services[name]["build"] / "Dockerfile").exists()


def test_a_redis_of_compose_remembers_whom_it_follows(sandbox, tmp_path):
    """Its command writes the file once; after a failover the file is its own."""
    service = compose()["services"]["redis-2"]
    port = sandbox.port()
    words = [word.replace("$$", "$") for word in service["entrypoint"]]
    lines = [f"port {port}", f"bind {HOST}"]
    lines += [line.replace("/data", str(tmp_path)) for line in service["command"]]
    server = started(sandbox, [*words, *lines], port, tmp_path)
    assert ask(server, "ROLE")[0] == "slave"
    ask(server, "REPLICAOF", "NO", "ONE")
    ask(server, "CONFIG", "REWRITE")
    server.kill()
    wait_ready([server.start()])
    assert ask(server, "ROLE")[0] == "master"


@pytest.mark.parametrize("conf", [compose_conf, manifest_conf])
def test_three_sentinels_of_that_file_form_a_cluster(sandbox, ours, conf):
    """The file as it is, but for names and ports; nobody writes it."""
    ports = [sandbox.port() for _ in range(3)]
    cluster = start_cluster(sandbox, replicas=2, options={"replica-announce-ip": "localhost"})
    peers = " ".join(f"localhost:{port}" for port in ports)
    text = re.sub(r"(?m)^sentinel raft-peers .*", f"sentinel raft-peers {peers}", conf())
    text = re.sub(r"(monitor \S+) \S+ 6379", rf"\1 localhost {cluster.master.port}", text)
    lines = [line for line in text.splitlines() if not line.startswith("port ")]
    sentinels = [
        sandbox.sentinel([*lines, "sentinel state-dir data"], port=port, program=ours)
        for port in ports
    ]
    wait_ready(sentinels)
    leader_of(sentinels)
    settle(sentinels, cluster)
    assert {master_row(sentinel)["ip"] for sentinel in sentinels} == {"localhost"}


def test_the_manifest_fits_together(understood):
    """Names, labels, ports and mounts that one document has of another."""
    documents = manifests()
    stateful = documents["StatefulSet", "sentinel"]["spec"]
    pod = stateful["template"]["spec"]
    (container,) = pod["containers"]
    labels = stateful["template"]["metadata"]["labels"]
    budget = documents["PodDisruptionBudget", "sentinel"]["spec"]
    assert labels == stateful["selector"]["matchLabels"] == budget["selector"]["matchLabels"]
    for (kind, _), document in documents.items():
        if kind == "Service":
            assert document["spec"]["selector"] == labels
            (port,) = document["spec"]["ports"]
            assert port["targetPort"] == container["ports"][0]["name"]

    peers = stateful["serviceName"]
    headless = documents["Service", peers]["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"]
    state = understood(manifest_conf())
    assert state.settings.raft_peers == [
        f"sentinel-{number}.{peers}:26379" for number in range(stateful["replicas"])
    ]

    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    provided = [*pod["volumes"], *(it["metadata"] for it in stateful["volumeClaimTemplates"])]
    assert set(mounts) == {it["name"] for it in provided}
    assert pod["volumes"][0]["configMap"]["name"] in {name for _, name in documents}
    program, conf, *options = container["command"]
    assert program == "sentinel-py"
    assert conf == f"{mounts['config']['mountPath']}/sentinel.conf"
    assert options == ["--sentinel", "state-dir", mounts["state"]["mountPath"]]


def test_a_pod_may_do_no_more_than_it_must():
    """No root, no capabilities, no writing but to its volume."""
    pod = manifests()["StatefulSet", "sentinel"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"{pod['securityContext']['runAsUser']}:" in instructions("USER")[0]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    probes = [probe for name, probe in container.items() if name.endswith("Probe")]
    (installed,) = (copy.split()[1] for copy in instructions("COPY") if "healthcheck" in copy)
    assert [probe["exec"]["command"] for probe in probes] == [["python", installed]] * 3


# systemd -----------------------------------------------------------------------------------------


def unit(path):
    """The unit's words as (name, value), in order, without its comments."""
    lines = [line for line in path.read_text().splitlines() if line[:1].isalpha()]
    return [tuple(line.split("=", 1)) for line in lines]


def values(path, name):
    return [value for named, value in unit(path) if named == name]


needs_debians = pytest.mark.skipif(not DEBIANS_UNIT.exists(), reason="no package redis-sentinel")


@needs_debians
def test_the_unit_takes_the_place_of_debians():
    """Same user, same file, same places to write to; and never both at once."""
    for name in ("Type", "User", "Group", "RuntimeDirectory", "RuntimeDirectoryMode", "Restart"):
        assert values(UNIT, name) == values(DEBIANS_UNIT, name), name
    (own,), (debians,) = (values(path, "ExecStart") for path in (UNIT, DEBIANS_UNIT))
    assert own.split()[1:] == debians.split()[1:]
    names = ("ReadWritePaths", "ReadWriteDirectories")
    writable = {place for name in names for place in values(DEBIANS_UNIT, name)}
    assert set(values(UNIT, "ReadWritePaths")) == writable - {"-/var/run/sentinel"}
    assert values(UNIT, "Conflicts") == [DEBIANS_UNIT.name]


def system_calls(path):
    filters = values(path, "SystemCallFilter")
    return [(line.startswith("~"), set(re.findall(r"@\S+", line))) for line in filters]


@needs_debians
def test_the_unit_is_no_less_closed_than_debians():
    """But for NoExecPaths: scripts of the operator may be run without a change of the unit."""
    compared = {"ReadWriteDirectories", "ReadWritePaths", "SystemCallFilter"}
    left_out = {"NoExecPaths", "ExecPaths"}
    names = [name for name, _ in unit(DEBIANS_UNIT)]
    closed = names[names.index("PrivateTmp") : names.index("WantedBy")]
    for name in set(closed) - compared - left_out:
        assert values(UNIT, name) == values(DEBIANS_UNIT, name), name
    assert system_calls(UNIT) == system_calls(DEBIANS_UNIT)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on PATH")
def test_systemd_understands_the_unit(ours, tmp_path):
    """With the program where it is here, so that only what the unit says is judged."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("=/opt/sentinel_py/bin/sentinel-py", f"={ours[0]}"))
    checked = run("systemd-analyze", "verify", "--man=no", copy)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_command_of_the_unit_tells_systemd_when_it_is_ready(sandbox, ours, monkeypatch):
    """With Debian's way to configure it: in the background, with a pid file and a log."""
    (command,) = values(UNIT, "ExecStart")
    program, conf, *options = shlex.split(command)
    assert (Path(program).name, conf) == ("sentinel-py", "/etc/redis/sentinel.conf")
    log, pidfile = sandbox.folder / "sentinel.log", sandbox.folder / "sentinel.pid"
    lines = ["daemonize yes", f"pidfile {pidfile}", f"logfile {log}"]
    path = sandbox.folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(READY_WITHIN_MS / 1000)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        sentinel = sandbox.sentinel([*lines, "sentinel state-dir state"], program=["true"])
        sentinel.wait()
        sentinel.argv = (*ours, sentinel.argv[-1], *options)
        sentinel.start()
        said = manager.recv(4096).decode().splitlines()
    assert "READY=1" in said
    assert ask(sentinel, "INFO", "server")["process_id"] == sentinel.pid
    assert int(pidfile.read_text()) == sentinel.pid
    assert sentinel.terminate() == 0
    assert "bye bye" in log.read_text()


# The shell ---------------------------------------------------------------------------------------


def completed(ours, *words):
    """What bash is offered for the last of these words."""
    environment = {
        **os.environ,
        "_SENTINEL_PY_COMPLETE": "bash_complete",
        "COMP_WORDS": shlex.join(["sentinel-py", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = run(*ours, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_shell_completes_commands_and_their_options(ours):
    """The first word may be a command or a file; the options are those of the command."""
    assert completed(ours, "im") == ["plain,import", "file,im"]
    assert completed(ours, "import", "--in") == ["plain,--into"]
    assert completed(ours, "import", "sent") == ["file,sent"]
    assert "plain,--json" in completed(ours, "status", "--")
    assert "plain,--once" in completed(ours, "demo", "--")


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on PATH")
def test_bash_takes_the_line_that_help_names(ours):
    """The line is in --help, and defines a completion for our name."""
    helped = run(*ours, "--help").stderr
    (line,) = re.findall(r"(?m)^ +(eval .*bash_source.*)$", helped)
    path = f"{Path(ours[0]).parent}{os.pathsep}{os.environ['PATH']}"
    done = run("bash", "-c", f"{line}; complete -p sentinel-py", env={**os.environ, "PATH": path})
    assert done.stdout.endswith(" sentinel-py\n"), done.stderr


def test_help_names_every_command(ours):
    """Each with one line, and state-dir, which is no command."""
    helped = run(*ours, "--help")
    for name in ("demo", "status", "import", "state-dir PATH"):
        assert re.search(rf"(?m)\b{name}\b", helped.stderr), name
