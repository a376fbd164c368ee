"""Builds the C core with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests that drive it.

    python tools/sanitize.py [pytest arguments]

Works on a copy, so that the installed core stays as it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = (
    "test_ahead.py",
    "test_output.py",
    "test_native.py",
    "test_recorder.py",
    "test_recorder_breaks.py",
    "test_span.py",
    "test_labels.py",
    "test_ops.py",
    "test_call_options.py",
    "test_calls.py",
    "test_calls_breaks.py",
    "test_twins.py",
    "test_tree_twins.py",
    "test_label_twins.py",
    "test_cell_twins.py",
    "test_path_number_twins.py",
    "test_align_twins.py",
    "test_walk_twins.py",
    "test_level_twins.py",
    "test_twin_counters.py",
    "test_settle_twins.py",
    "test_group_twins.py",
    "test_cores.py",
    "test_profile.py",
    "test_handlers.py",
    "test_chrome_scan.py",
    "test_encode_args.py",
    "test_packed_args.py",
    "test_chrome_bad.py",
    "test_twins_read.py",
    "test_perfetto_bad.py",
    "test_perfetto_read.py",
)
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"


def runtime(name: str) -> str:
    """The path of a sanitizer's runtime, as the compiler knows it."""
    compiler = os.environ.get("CC", "gcc").split()[0]
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    if not Path(path).is_absolute():
        sys.exit(f"{compiler} has no {name}. Install the compiler's sanitizer runtimes.")
    return path


def main(arguments: list[str]) -> int:
    """Build, then test; pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        ignore = shutil.ignore_patterns("*.so", "build", "*.egg-info", "__pycache__")
        for name in ("src", "tests", "fixtures", "tools"):
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        build = {**os.environ, "CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined", "STEPSCOPE_REQUIRE_C": "1"}
        installed = Path(folder, "installed")
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed), str(copy)]
        subprocess.run(command, env=build, check=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": runtime("libasan.so"),
            # CPython keeps some memory until the end of the process: leaks are what test_native.py counts, and it
            # does so beside what the sanitizer itself keeps of freed memory.
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:quarantine_size_mb=16",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": str(installed),
            "STEPSCOPE_CORE": "c",
        }
        tests = [str(copy / "tests" / name) for name in TESTS]
        # What a sanitizer says before it ends the process must not be captured.
        options = ["-q", "-p", "no:cacheprovider", "--capture=sys"]
        pytest = [sys.executable, "-m", "pytest", *options, *tests, *arguments]
        return subprocess.run(pytest, cwd=copy, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
