"""Starts without imports: the runs of one workflow are forked from one process that has torch loaded.

Imports take a run longer than its first epochs at scale ``quick``. So the first run of a workflow starts one more
process, which imports once what a training needs and waits at a socket until the workflow ends. A run's own
process hands its arguments and its three streams over, gets a fork that does the work, passes signals on
and ends with the fork's exit status. Everything else is as without: one process a run, with its log, its lock, its
seeds and its signals, and a fork that dies with the process that asked for it. Wherever anything is amiss
(no Linux, another environment, a folder without sockets), the run's own process does the work.

This module is imported before all others and imports as little as it can.
"""

import json
import os
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

WORKFLOW = "REPRO_WORKFLOW"  # environment: process id of the snakemake that the runs belong to
COMMANDS = ("train", "weights")
FOLDER = ".snakemake"  # of the workflow; relative, since a socket's address is short
OF_THE_SHELL = {"_", "OLDPWD", "PWD", "SHLVL"}  # these may differ between processes that are otherwise alike
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP")
MESSAGE_BYTES = 65536


def workflow_command(forking: bool) -> str:
    """``python -m repro`` as a shell word list for the jobs of the workflow that this process is.

    Args:
        forking: Whether its runs are forked from one process; not where another machine may take them.
    """
    return f"{WORKFLOW}={os.getpid() if forking else ''} {shlex.quote(sys.executable)} -m repro"


def hand_over(arguments: Sequence[str]) -> int | None:
    """Have a command of a workflow's run done by a fork of the process that has everything loaded.

    Args:
        arguments: The command line after ``python -m repro``.

    Returns:
        The exit status, or ``None`` where the caller has to do the work: outside a workflow, for a command
        that trains nothing, where there can be no such process, and where it was killed.
    """
    workflow = os.environ.get(WORKFLOW, "")
    if not workflow.isdecimal() or not arguments or arguments[0] not in COMMANDS or not hasattr(os, "pidfd_open"):
        return None
    try:
        os.close(os.pidfd_open(int(workflow)))  # it is there, and the kernel has the call
        with _connect(f"{FOLDER}/repro-{workflow}.socket", workflow) as connection:
            request = json.dumps({"arguments": list(arguments), "process": _describe_process()})
            socket.send_fds(connection, [request.encode()], [0, 1, 2])
            fork = int(connection.recv(MESSAGE_BYTES) or 0)
            return _follow(connection, os.pidfd_open(fork)) if fork else None
    except OSError:
        return None


def _describe_process() -> list[object]:
    """What a fork takes from the process it is forked from, and must therefore be equal there."""
    environment = sorted(item for item in os.environ.items() if item[0] not in OF_THE_SHELL)
    return json.loads(json.dumps([str(Path.cwd()), sys.executable, environment]))  # type: ignore[no-any-return]


def _connect(address: str, workflow: str) -> socket.socket:
    """A connection to the workflow's server, which is started unless another run has done so."""
    import fcntl

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = os.open(FOLDER, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            _start(address, workflow)
            connection.connect(address)  # it waits in the queue until the server has loaded everything
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


def _start(address: str, workflow: str) -> None:
    """Start the server, in a session of its own: a terminal's Ctrl-C reaches it through the runs alone."""
    import subprocess

    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen(128)
        number, none = listener.fileno(), subprocess.DEVNULL
        command = [sys.executable, "-m", "repro.forking", str(number), address, workflow]
        subprocess.Popen(command, pass_fds=[number], start_new_session=True, stdin=none, stdout=none, stderr=none)


def _follow(connection: socket.socket, fork: int) -> int | None:
    """Pass signals on to the fork until it sends its exit status.

    Args:
        connection: To the fork.
        fork: Its pidfd, which no later process can take over.

    Returns:
        The status; ``None`` where the fork was killed: the run is tried once more, by the process that asked for it.
    """
    passed: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        passed.append(number)
        signal.pidfd_send_signal(fork, number)

    for name in SIGNALS:
        signal.signal(getattr(signal, name), pass_on)
    status = connection.recv(MESSAGE_BYTES)
    if status:
        return int(status)
    if passed:  # it came before the fork could hear it
        return 128 + passed[-1]
    for name in SIGNALS:
        signal.signal(getattr(signal, name), signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
    print("the process that trained was killed, perhaps for want of memory; once more, in another", file=sys.stderr)
    return None


def serve(listener: socket.socket, address: str, workflow: int) -> None:
    """Fork a process for every connection, until the workflow's process has ended."""
    import gc
    import importlib
    import select

    process = _describe_process()  # imports add to the environment

    for module in ("repro.cli", "repro.train", *(f"repro.commands.{command}" for command in COMMANDS)):
        importlib.import_module(module)
    gc.freeze()  # what lives now need not be looked at, and so copied, in every fork
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks here
    ended = os.pidfd_open(workflow)
    while ended not in select.select([listener.fileno(), ended], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(ended)
            _work(connection, process)
        connection.close()
    Path(address).unlink(missing_ok=True)


def _work(connection: socket.socket, process: list[object]) -> None:
    """Do what one connection asks for, if it comes from a process like ours, and end."""
    import threading

    from repro.cli import main

    status = 1
    try:
        message, streams, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 3)
        request = json.loads(message)
        if request["process"] != process:
            return
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.send(str(os.getpid()).encode())
        threading.Thread(target=_die_with, args=[connection], daemon=True).start()
        try:
            status = main(request["arguments"])
        except SystemExit as wrong_call:
            status = int(wrong_call.code or 0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(str(status).encode())
    finally:
        os._exit(status)  # whatever it is, the server's loop is not for the fork


def _die_with(connection: socket.socket) -> None:
    """End the fork with the process that asked for it: only its end makes a read return."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
