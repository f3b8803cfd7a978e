"""A `dunning` for the PATH of a shell that is a fork of a process which has imported everything.

Starting Python with our imports is most of what a short command does, and the README has dozens. Arguments,
folder, environment and streams are the shell's own. That the installed command starts by itself is shown in
`tests/e2e` and `tests/starter`.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from starter.__main__ import script
from tests.e2e.commands import line_of, started

_COMMAND = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"!"], [0, 1, 2])
    server.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    sys.exit(int(server.recv(8)))
"""


@contextmanager
def typed_command() -> Iterator[Path]:
    """A folder for the PATH; the command in it works while the block runs."""
    with TemporaryDirectory(prefix="typed") as folder:  # the path of a socket must be short
        address, command = Path(folder, "address"), Path(folder, "dunning")
        command.write_text(_COMMAND.format(python=sys.executable, address=str(address)), encoding="utf-8")
        command.chmod(0o755)
        with started([sys.executable, "-m", __name__, address]) as server:
            assert line_of(server.stdout) == "ready\n", server.communicate()[1]
            yield command.parent


def _serve(address: str) -> NoReturn:
    importlib.import_module("starter.cli")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            caller, _ = door.accept()
            with caller:
                _, streams, *_ = socket.recv_fds(caller, 1, 3)
                child = os.fork()
                if child == 0:
                    with caller.makefile() as typed:
                        _be(*json.loads(typed.readline()), streams)
                for stream in streams:
                    os.close(stream)
                caller.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _be(arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> NoReturn:
    for stream, typed in enumerate(streams):
        os.dup2(typed, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    script()


if __name__ == "__main__":
    _serve(sys.argv[1])
