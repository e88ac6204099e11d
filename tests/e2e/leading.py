"""What leads clients to the master, as a process; and a client that only knows one port."""

import re
import socket
import subprocess
from threading import Event, Thread

from sentinel_py.local import HOST, eventually, sentinel_program
from sentinel_py.resp import encode_command

from .group import FAILOVER_WITHIN_MS, ask

KEY = "writes"
WRITE_EVERY_S = 0.01
ANSWER_WITHIN_S = 2
END_WITHIN_S = 20


class Program:
    """A command of ours that runs until it is ended, at the latest with its `with` block."""

    def __init__(self, folder, *words, argv=None, env=None):
        self._output = folder / "printed"
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                argv or [*sentinel_program(), *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
            )

    @property
    def printed(self):
        return self._output.read_text()

    def says(self, pattern):
        """Wait until it has printed this."""
        eventually(
            lambda: re.search(pattern, self.printed), FAILOVER_WITHIN_MS, f"{pattern} in a log"
        )

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(END_WITHIN_S)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        if error[0]:
            print(self.printed)


class Writer:
    """An application that writes all the time to one port, and comes again when that fails."""

    def __init__(self, port):
        self.written = 0
        self._port = port
        self._connection = None
        self._ended = Event()
        self._thread = Thread(target=self._run)

    def writes(self):
        """Wait until it has written once more, and so the connection is well."""
        before = self.written
        eventually(lambda: self.written > before + 1, FAILOVER_WITHIN_MS, "write")

    def _run(self):
        while not self._ended.wait(WRITE_EVERY_S):
            try:
                self.written += self._write() == b"+OK\r\n"
            except OSError:
                self._disconnect()

    def _write(self):
        if self._connection is None:
            self._connection = socket.create_connection((HOST, self._port), ANSWER_WITHIN_S)
        self._connection.sendall(encode_command(["SET", KEY, self.written + 1]))
        answer = self._connection.recv(1000)
        if not answer.startswith(b"+"):  # an error, or the end
            self._disconnect()
        return answer

    def _disconnect(self):
        if self._connection:
            self._connection.close()
        self._connection = None

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._disconnect()


def naming(sentinels):
    """The options that name these sentinels."""
    return [word for one in sentinels for word in ("--sentinel", one.address)]


def written_to(server, writer):
    """Whether the writer's last writes are here."""
    before = writer.written
    return before <= int(ask(server, "GET", KEY)) <= writer.written + 1
