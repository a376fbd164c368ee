"""Install the programs that tests/clients loads our files with, each as its users do.

python tools/install_clients.py           all of them
python tools/install_clients.py hta ...   some

Chromium comes from Debian's packages, for which it has to run as root; the others get environments of their own under
.clients, which no program of theirs leaves.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / ".clients"
# Pinned: a test that passed means these versions.
TENSORBOARD = ("setuptools<81", "tensorboard==2.21.*", "torch-tb-profiler==0.4.3")  # the plugin uses pkg_resources
# HTA without Jupyter, which its package asks for and nothing here starts.
HTA = ("HolisticTraceAnalysis==0.5.0",)
HTA_NEEDS = ("networkx", "numpy", "pandas", "plotly", "psutil", "pydot", "pytest", "pyyaml")


def install_chromium() -> None:
    """Debian's browser and fonts; and in the environment that this runs in, what drives it, and pandas for Perfetto."""
    run("apt-get", "update", "-qq")
    run(
        "apt-get",
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "chromium",
        "fonts-dejavu-core",
        "fonts-noto-color-emoji",
    )
    run(sys.executable, "-m", "pip", "install", "-q", "playwright>=1.50", "pandas>=2")


def install_tensorboard() -> None:
    """TensorBoard with torch's plugin."""
    environment("tensorboard", *TENSORBOARD)


def install_hta() -> None:
    """HolisticTraceAnalysis."""
    environment("hta", *HTA_NEEDS)
    run(CLIENTS / "hta" / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", *HTA)


CLIENT_INSTALLS = {"chromium": install_chromium, "tensorboard": install_tensorboard, "hta": install_hta}


def environment(name: str, *packages: str) -> None:
    """Make a virtual environment with some packages."""
    run(sys.executable, "-m", "venv", CLIENTS / name)
    run(CLIENTS / name / "bin" / "python", "-m", "pip", "install", "-q", *packages)


def run(*command: object) -> None:
    """Run a command, and show it."""
    print("+", *command, flush=True)
    subprocess.run(list(map(str, command)), check=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CLIENT_INSTALLS:
        CLIENT_INSTALLS[chosen]()
