"""Whether this machine's processor reads scattered numbers several at a time sooner than one by one.

Instructions that do so are the quicker way to sum a row's products on Intel's processors with AVX-512 (by a fifth to a third
where a vector fits into caches), but for those on which they are slowed down to keep others from seeing what they read (Gather
data sampling, CVE-2022-40982), where they take more than twice as long.
"""

from pathlib import Path

CPU = Path("/proc/cpuinfo")
SLOWED = Path("/sys/devices/system/cpu/vulnerabilities/gather_data_sampling")


def quick_gathers(cpu: Path = CPU, slowed: Path = SLOWED) -> bool:
    """Whether it is known to; it is no where nothing is known, as outside of Linux."""
    try:
        with cpu.open(encoding="ascii", errors="replace") as lines:
            first = "".join(line for line, _ in zip(lines, range(40), strict=False))
        return "GenuineIntel" in first and " avx512f " in first and slowed.read_text(encoding="ascii").strip() == "Not affected"
    except (OSError, ValueError):
        return False
