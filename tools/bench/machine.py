"""What a figure depends on besides the code: processor, system, Python, versions."""

import os
import platform
from pathlib import Path

from bench.timing import version_of

__all__ = ["about"]

PACKAGES = ("stepscope", "torch", "viztracer", "keke", "opentelemetry-sdk", "perfetto", "protobuf", "isal", "wasmtime")
CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
BUSY = 0.3  # of all cores
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def about(core: dict[str, str]) -> dict[str, str]:
    """Facts in the order they are shown in.

    Args:
        core: stepscope's, as a worker told it.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    facts = {
        "cpu": ", ".join(filter(None, (_cpu(), f"{os.cpu_count()} cores", _governor(), f"load {load:.2f}"))),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "core": ", ".join(f"{name} {value}" if name != "name" else value for name, value in core.items()),
        "clock source": _first_line(CLOCKSOURCE) or "not told",
        "versions": ", ".join(f"{name} {version}" for name in PACKAGES if (version := version_of(name))),
        "absent": ", ".join(name for name in PACKAGES[1:] if not version_of(name)),
    }
    if load > BUSY * (os.cpu_count() or 1):
        facts["disturbed"] = "other programs are running; the minimum stands that, the median does not"
    return {name: fact for name, fact in facts.items() if fact}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _governor() -> str:
    governor = _first_line(GOVERNOR)
    return f"governor {governor}" if governor else ""


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
