"""The house stands as drawn: imports point down, and importing the package costs what it may."""

import subprocess
import sys
from pathlib import Path

import floors


def test_every_import_in_src_is_in_the_table() -> None:
    assert floors.violations() == []


def test_an_import_that_points_up_is_found(tmp_path: Path) -> None:
    src = tmp_path / "stepscope"
    (src / "model").mkdir(parents=True)
    (src / "session").mkdir()
    (src / "session" / "profile.py").write_text("import click\n")
    (src / "model" / "trace.py").write_text("from stepscope.session import profile\nimport os\n")
    floors_src, floors.SRC = floors.SRC, src
    try:
        found = floors.violations(src)
    finally:
        floors.SRC = floors_src

    assert found == [
        "stepscope/model/trace.py:1: model may not import session",
        "stepscope/session/profile.py:1: click is imported where it is used, not at the top",
    ]


def test_importing_stepscope_brings_in_none_of_its_dependencies() -> None:
    code = "import stepscope, sys; print(sorted({name.split('.')[0] for name in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    for name in ("perfetto", "google", "click", "rich", "isal", "orjson", "wasmtime", "viztracer", "numpy", "torch"):
        assert f"'{name}'" not in out


def test_every_public_name_is_there() -> None:
    import stepscope

    assert [name for name in stepscope.__all__ if getattr(stepscope, name, None) is None] == []
    assert set(stepscope.__all__) <= set(dir(stepscope))


def test_every_file_of_the_c_core_is_in_a_source_distribution() -> None:
    """What pyproject.toml does not list is not in it, headers too, and the core could not be built."""
    root = Path(__file__).parent.parent
    listed = (root / "pyproject.toml").read_text(encoding="utf-8")
    files = [path for path in (root / "src/stepscope/native").iterdir() if path.suffix in {".c", ".h"}]

    assert len(files) > 50
    assert [path.name for path in files if f'"src/stepscope/native/{path.name}"' not in listed] == []
