"""A cluster of one node on loopback: Slurm's own daemons, with a configuration in a folder of the test's."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import comes_true

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "sinfo", "unshare", "nsenter")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=10000
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def what_is_missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge util-linux)"
    return "" if os.geteuid() == 0 else "Slurm's daemons run jobs as others, so they need root"


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def cluster(folder: Path) -> Iterator[Callable[[Path], list[str]]]:
    """Daemons that run for as long as the context lasts.

    The executor of Snakemake drops what names another configuration than /etc/slurm/slurm.conf, so the folder lies
    there, for these processes alone: in a mount namespace of theirs.

    Yields:
        What gives, for a folder to work in, the first words of a command that is to see the cluster.
    """
    host = socket.gethostname()
    for name in ("state", "spool", "etc"):
        (folder / name).mkdir(parents=True)
    (folder / "etc" / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host, folder=folder, controller=free_port(), daemon=free_port(), cores=len(os.sched_getaffinity(0))
        )
    )
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    with ExitStack() as stack:
        script = (
            f"mkdir -p /etc/slurm && mount --bind {folder}/etc /etc/slurm && touch {folder}/ready; exec sleep 86400"
        )
        holder = _start(stack, folder, "unshare", "--mount", "--propagation", "private", "sh", "-c", script)
        assert comes_true((folder / "ready").exists, 20)
        within = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]
        munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
        _start(stack, folder, *within, "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
        assert comes_true((folder / "munge.socket").exists, 20), _said(folder)
        _start(stack, folder, *within, "slurmctld", "-D")
        _start(stack, folder, *within, "slurmd", "-D", "-N", host)

        def idle() -> bool:
            done = subprocess.run([*within, "sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
            return done.stdout.strip() == "idle"

        assert comes_true(idle, 60), _said(folder)
        yield lambda place: [*within, f"--wdns={place}"]


def _start(stack: ExitStack, folder: Path, *command: str) -> subprocess.Popen[bytes]:
    with (folder / "said.txt").open("ab") as said:
        environment = {**os.environ, "PATH": os.pathsep.join([os.environ["PATH"], "/usr/sbin"])}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def _said(folder: Path) -> str:
    return (folder / "said.txt").read_text(errors="replace")[-4000:]
