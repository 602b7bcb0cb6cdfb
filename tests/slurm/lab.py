"""A real Slurm of two nodes on this machine: its daemons started in a scratch folder, jobs submitted and looked after.

Everything is its own: munge's key and socket, ports, state; nothing of a Slurm that this machine may belong to is touched.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import psutil

from tests import launcher

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo")
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL")
CORES = 4  # that each node claims: two jobs of four ranks may run at the same time
CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
MpiDefault=pmi2
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
KillWait=20
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2
MailProg=/bin/true
GresTypes=gpu
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd-%n
SlurmctldPort={ports[0]}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cores} Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cores} Gres=gpu:2
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
# What jobs run as mpiopt: this checkout. A round may take a while, asleep on every rank, so that a job can be caught in the
# middle of it; and the GPUs of these nodes are in their configuration alone.
PROGRAM = """#!{python}
import os, sys, time
from mpiopt.jobs.launch import main
from mpiopt.jobs.running.signals import Signals

if "CUDA_VISIBLE_DEVICES" in os.environ:
    print("GPU", os.environ["SLURMD_NODENAME"], os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = "0"
if "--device" in sys.argv and not {gpu}:
    at = sys.argv.index("--device")
    del sys.argv[at : at + 2]
word, attempt = Signals.__call__, int(os.environ.get("SLURM_RESTART_COUNT", 0))
pace = [*map(float, os.environ["PACE"].split()), 0.0][attempt:][:1]
Signals.__call__ = lambda self: (time.sleep(sum(pace)), word(self))[1]
sys.exit(main())
"""


def missing() -> str:
    """Why there can be no Slurm here, or ""."""
    absent = [name for name in DAEMONS if not shutil.which(name, path=_path())]
    if absent:
        return f"no {', '.join(absent)} on this machine: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started by root alone"


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class State(NamedTuple):
    """What Slurm says of a job: its state, exit code (of a signal: 128 and the signal), and times it was queued again."""

    name: str
    code: int
    restarts: int

    @property
    def over(self) -> bool:
        return self.name in OVER


class Lab:
    """The cluster: start it with ``up``, end it with ``down``. folder : scratch, seen by both nodes, short in name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen] = []
        for name in ("run", "log", "state", "bin"):
            (folder / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(host=host, folder=folder, ports=_free_ports(3), cores=CORES)
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")  # it only counts them
        program = folder / "bin" / "mpiopt"
        program.write_text(PROGRAM.format(python=sys.executable, gpu=bool(shutil.which("nvidia-smi"))))
        program.chmod(0o755)
        self.env = launcher.environment({"SLURM_CONF": str(folder / "slurm.conf"), "LC_ALL": "C"})
        self.env["PATH"] = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), _path()])
        for name in [name for name in self.env if name.startswith(("OMP_", "SBATCH_")) or _of_a_job(name)]:
            del self.env[name]

    def up(self) -> None:
        """Start the daemons, which end when this process does, and wait until both nodes are ready."""
        run, key, log = self.folder / "run", self.folder / "key", self.folder / "log"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        self._start(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={run}/munge.socket",
            f"--pid-file={run}/munged.pid",
            f"--log-file={log}/munged",
            f"--seed-file={run}/seed",
        )
        self.until((run / "munge.socket").exists, 30, self.logs)
        self._start("slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            self._start("slurmd", "-D", "-N", node)
        self.until(self._ready, 60, self.logs)

    def _start(self, *argv: str) -> None:
        path = str(shutil.which(argv[0], path=self.env["PATH"]))
        out = self.folder / "log" / f"said-{len(self.daemons)}"
        self.daemons.append(launcher.start([path, *argv[1:]], cwd=self.folder, env=self.env, out=out))

    def _ready(self) -> bool:
        done = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout.split() == ["idle", "idle"]

    def down(self) -> None:
        """Cancel what still runs and end the daemons."""
        try:
            self.tell("scancel", "--user=root")
            self.until(lambda: not self.tell("squeue", "-h").strip(), 60, self.logs)
        finally:
            for daemon in reversed(self.daemons):
                daemon.terminate()
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
            launcher.sweep()

    def tell(self, *argv: str, cwd: Path | None = None) -> str:
        """Run one of Slurm's programs; what it prints."""
        done = subprocess.run(argv, env=self.env, cwd=cwd or self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}\n{self.logs()}"
        return done.stdout

    def submit(self, script: Path, *arguments: str, cwd: Path, options: tuple[str, ...] = (), pace: str = "") -> "Job":
        """Submit a script. options : sbatch's; arguments : the script's. pace : seconds a round, attempt by attempt."""
        self.env["PACE"] = pace
        number = self.tell("sbatch", "--parsable", *options, str(script), *arguments, cwd=cwd).strip()
        return Job(self, number, cwd)

    def until(self, done: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
        """Wait for something, but not longer."""
        end = monotonic() + seconds
        while not done():
            assert monotonic() < end, f"not within {seconds} s:\n{why()}"
            sleep(0.1)

    def logs(self) -> str:
        """What the daemons have said, for a test that fails."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted((self.folder / "log").glob("*")))


class Job:
    """A submitted job, or a task of an array. number : as Slurm writes it; folder : where it was submitted."""

    def __init__(self, lab: Lab, number: str, folder: Path) -> None:
        self.lab, self.number, self.folder = lab, number, folder
        self.waiting: dict[int, float] = {}  # since when it has been in the queue again, attempt by attempt

    @property
    def told(self) -> dict[str, str]:
        """What Slurm knows of it."""
        line = self.lab.tell("scontrol", "show", "job", "-o", self.number)
        return dict(item.split("=", 1) for item in line.split() if "=" in item)

    @property
    def state(self) -> State:
        told = self.told
        code, died = map(int, told["ExitCode"].split(":"))
        return State(told["JobState"], 128 + died if died else code, int(told["Restarts"]))

    @property
    def said(self) -> str:
        """All that it has printed so far."""
        return "".join(path.read_text() for path in sorted(self.folder.glob(f"*-{self.number}.out")))

    def cancel(self, *options: str) -> None:
        """Cancel or signal it."""
        self.lab.tell("scancel", *options, self.number)

    def says(self, text: str, times: int = 1, seconds: float = 60) -> None:
        """Wait until it has said something so many times."""
        self.lab.until(lambda: self.said.count(text) >= times or self.state.over, seconds, self.why)
        assert self.said.count(text) >= times, self.why()

    def over(self, seconds: float = 120) -> State:
        """Its end."""
        self.lab.until(lambda: self.hurried().over, seconds, self.why)
        return self.state

    def restarted(self) -> None:
        """Wait until it runs for the second time."""
        self.lab.until(lambda: self.hurried()[::2] == ("RUNNING", 1), 60, self.why)

    def hurried(self) -> State:
        """Its state. Slurm lets a job that is queued again wait for two minutes; here it may go on after two seconds.

        Not at once: nodes refuse a job whose permission to start is not newer than the end of its last attempt.
        """
        now = self.state
        since = self.waiting.setdefault(now.restarts, monotonic()) if now.name == "PENDING" and now.restarts else inf
        if since + 2 < monotonic():
            self.waiting[now.restarts] = inf
            self.lab.tell("scontrol", "update", f"JobId={self.number}", "StartTime=now")
        return now

    def ranks(self) -> list[psutil.Process]:
        """Its ranks on this machine."""
        mine = [process for process in psutil.process_iter() if self._rank(process)]
        return sorted(mine, key=lambda process: process.pid)

    def _rank(self, process: psutil.Process) -> bool:
        try:
            env = process.environ()
            here = env.get("SLURM_CONF") == self.lab.env["SLURM_CONF"]  # other labs count from 1 too
            return (
                here
                and env.get("SLURM_JOB_ID") == self.number
                and "PMI_RANK" in env
                and "mpiopt" in " ".join(process.cmdline())
            )
        except psutil.Error:
            return False

    def why(self) -> str:
        return f"job {self.number}: {self.state}\n{self.said}"


def kill(process: psutil.Process) -> None:
    """As the kernel does when memory runs out."""
    process.send_signal(signal.SIGKILL)


def _of_a_job(name: str) -> bool:
    return name.startswith(("SLURM_", "SRUN_", "PMI_")) and name != "SLURM_CONF"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
