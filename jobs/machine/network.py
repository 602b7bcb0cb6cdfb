"""A few hosts with a slow network between them, on one machine: network namespaces on a bridge, each link with a rate.

Needs root, ip and tc with the token bucket filter; and MPICH's mpiexec, whose ranks then talk over real TCP.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mpiopt.errors import CapabilityError, MpioptError

BURST, LATENCY = "256kbit", "100ms"  # of the token bucket
LAUNCHED = ("PMI_", "PMIX_", "HYDI_", "HYDRA_", "MPI_", "OMPI_", "SLURM_")  # what an outer launcher leaves behind
ENTER = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=$1; shift
exec ip netns exec "$host" bash -c "$*"
"""


@dataclass(frozen=True)
class Hosts:
    """names : of the namespaces; bridge : on which they meet, at ``address``; folder : for the launcher's helper."""

    names: tuple[str, ...]
    bridge: str
    address: str
    folder: Path

    @property
    def crossed(self) -> int:
        """Bytes that the hosts have sent to each other so far, as the kernel counts them, headers included."""
        return sum(int(Path(f"/sys/class/net/{name}v/statistics/rx_bytes").read_text(encoding="ascii")) for name in self.names)

    def run(self, arguments: Sequence[str], seconds: float) -> str:
        """What ``python ARGUMENTS`` prints when every host runs one rank of it. Raises MpioptError where it fails."""
        command = [
            _mpiexec(),
            "-launcher",
            "ssh",
            "-launcher-exec",
            str(self.folder / "enter"),
            "-localhost",
            self.address,
            "-iface",
            self.bridge,
            "-hosts",
            ",".join(self.names),
            "-genv",
            "UCX_TLS",
            "tcp,self",
            "-genv",
            "UCX_NET_DEVICES",
            "eth0",
            "-n",
            str(len(self.names)),
            "-ppn",
            "1",
            sys.executable,
            *arguments,
        ]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHED)}
        try:
            done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired as error:
            raise MpioptError(f"{shlex.join(arguments)} took more than {seconds:g} s between namespaces") from error
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise MpioptError(f"{shlex.join(arguments)} failed between namespaces with exit code {done.returncode}: {last}")
        return done.stdout


@contextmanager
def hosts(count: int, rate: str) -> Iterator[Hosts]:
    """So many namespaces, each sending at most at ``rate``, as tc writes it (100mbit). They are taken down at the end.

    Not collective: for a process that starts its own ranks. Raises CapabilityError in a sentence where this cannot be had.
    """
    _demand()
    tag = f"m{os.getpid() % 100000}"
    net, bridge, names = f"10.77.{os.getpid() % 250 + 1}", f"{tag}b", tuple(f"{tag}h{number}" for number in range(1, count + 1))
    try:
        _do(f"ip link add {bridge} type bridge", f"ip addr add {net}.254/24 dev {bridge}", f"ip link set {bridge} up")
        for number, name in enumerate(names, 1):
            _do(
                f"ip netns add {name}",
                f"ip link add {name}v type veth peer name eth0 netns {name}",
                f"ip link set {name}v master {bridge} up",
                f"ip -n {name} addr add {net}.{number}/24 dev eth0",
                f"ip -n {name} link set eth0 up",
                f"ip -n {name} link set lo up",
                f"ip netns exec {name} tc qdisc add dev eth0 root tbf rate {rate} burst {BURST} latency {LATENCY}",
            )
        with TemporaryDirectory() as folder:
            enter = Path(folder) / "enter"
            enter.write_text(ENTER, encoding="ascii")
            enter.chmod(0o755)
            yield Hosts(names, bridge, f"{net}.254", Path(folder))
    finally:
        for name in names:
            with suppress(CapabilityError):
                _do(f"ip netns del {name}")
        with suppress(CapabilityError):
            _do(f"ip link del {bridge}")


def _demand() -> None:
    if os.geteuid():
        raise CapabilityError("network namespaces need root: run this as root, or on a machine of your own")
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            raise CapabilityError(f"there is no program {program}: install iproute2")
    _mpiexec()


def _mpiexec() -> str:
    """MPICH's: beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout if found else ""
    if found is None or "HYDRA" not in version:
        raise CapabilityError("starting ranks in network namespaces needs MPICH's mpiexec: pip install mpich")
    return found


def _do(*commands: str) -> None:
    for command in commands:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise CapabilityError(f"this machine cannot make slow hosts: `{command}` failed: {said}")
