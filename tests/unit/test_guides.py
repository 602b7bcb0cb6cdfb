"""The guides in the rooms: every link and every file that they name is there, and none has fallen behind the code."""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from mpiopt.jobs.cli.commands import COMMANDS, Session
from mpiopt.jobs.cli.flags import flagged, switches
from mpiopt.jobs.launch import main
from mpiopt.losses import registry
from tests.unit.test_capabilities import REFUSED

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("mpiopt", "io", "jobs", "slurm", "tests")
GUIDES = [ROOT / "README.md", *(ROOT / room / "README.md" for room in ROOMS), *sorted((ROOT / ".github").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*(/|\.(py|md|cu|toml|sbatch|sh|png|h|xz))")
PLACEHOLDER = re.compile(r"[A-Z]{4,}|VERSION")  # NAME, FAMILY, DATA: any file of that kind
OTHERS = {"help", "no-shuffle"}  # of the command line itself
MADE = {"program.py", "gap.png", "picture.png", "main.png", "fit.sbatch", "path.sbatch"}  # by who follows the guide


def prose(guide: Path) -> str:
    """The text outside of fenced blocks."""
    return FENCED.sub("", guide.read_text(encoding="utf-8"))


def places(guide: Path, name: str) -> list[Path]:
    """Where a file of this name is, seen from the guide's folder or from the root."""
    return [path for base in (guide.parent, ROOT) for path in base.glob(name)]


def anchors(guide: Path) -> set[str]:
    """The headings of a guide, as links spell them."""
    titles = re.findall(r"^#+ (.*)$", prose(guide), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(guide: Path) -> list[str]:
    """Relative links and names of files in a guide that lead nowhere."""
    out = []
    for link in LINK.findall(prose(guide)):
        path, _, anchor = link.partition("#")
        target = guide.parent / path if path else guide
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            out.append(link)
    named = [span for span in SPAN.findall(prose(guide)) if PATH.fullmatch(span) and not PLACEHOLDER.search(span)]
    return out + [span for span in named if span not in MADE and not places(guide, span.rstrip("/"))]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.relative_to(ROOT).as_posix())
def test_every_link_and_file_of_a_guide_is_there(guide):
    assert broken(guide) == []


def test_a_dead_link_is_seen(tmp_path):
    guide = tmp_path / "GUIDE.md"
    text = "# A b\n[x](#a-b) [y](#c) [z](gone.md) `mpiopt/arrays.py` `mpiopt/gone.py` `losses/NAME.py`\n```\n[w](no)\n```\n"
    guide.write_text(text)
    assert broken(guide) == ["#c", "gone.md", "mpiopt/gone.py"]


def test_every_room_has_a_guide():
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert {room for room in rooms if (ROOT / room / "README.md").exists()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_guide_tells_of_every_folder_of_its_room(room):
    text = (ROOT / room / "README.md").read_text(encoding="utf-8")
    folders = [path.parent.name for path in (ROOT / room).glob("*/*.py")]
    assert [folder for folder in dict.fromkeys(folders) if f"`{folder}/`" not in text] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_every_command_has_a_section_with_an_example():
    text = (ROOT / "jobs" / "README.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE))
    assert set(sections) == set(COMMANDS)
    assert all(f"[{name}](#{name})" in text.partition("###")[0] for name in COMMANDS)
    for name, section in sections.items():
        assert re.search(rf"^\$ .*mpiopt {name}\b", section, re.MULTILINE), name


EXAMPLE = re.compile(r"^```\n\$ mpiopt ((?:methods|reproduce)[^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("line", "printed"), EXAMPLE.findall((ROOT / "jobs" / "README.md").read_text(encoding="utf-8")))
def test_an_example_that_needs_no_data_prints_what_the_guide_says(line, printed, capsys):
    assert main(line.split()) == 0
    assert capsys.readouterr().out == printed


def test_every_option_that_a_guide_names_is_one():
    known = {field.name.rstrip("_").replace("_", "-") for job in (*jobs(), Session) for field in fields(job)} | OTHERS
    for guide in GUIDES:
        spans = [span for span in SPAN.findall(prose(guide)) if not span.startswith(("srun", "sbatch", "mpiexec", "pytest"))]
        named = {option for span in spans for option in re.findall(r"--([a-z][a-z0-9-]*)", span)}
        assert named <= known, guide


def sentences() -> str:
    """The code, with strings that go on in the next line made one, and parameters as the flags that people read."""
    files = [path for room in ("mpiopt", "io", "jobs") for path in (ROOT / room).rglob("*.py")]
    text = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text(encoding="utf-8") for path in files))
    return flagged(text, {name: switch for job in jobs() for name, switch in switches(job).items()})


def jobs() -> list[type]:
    """The dataclasses of the commands' options."""
    return [getattr(import_module(f"mpiopt.jobs.{name}"), name.capitalize()) for name in COMMANDS]


def test_the_errors_that_are_explained_are_those_of_the_code():
    text = (ROOT / "jobs" / "README.md").read_text(encoding="utf-8").split("## Troubleshooting")[1].split("\n## ")[0]
    told, known = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE), sentences()
    assert len(told) > 20
    for sentence in told:
        parts = [
            part.strip(" :;,") for part in re.split(r"\b[A-Z]{3,}(?:\.h5)?\b|\b[ABN]\b|\d+|\.\.\.|\bthe others\b|;", sentence)
        ]
        assert max(map(len, parts)) >= 10 and [part for part in parts if part not in known] == [], sentence


def test_every_refused_cell_is_explained():
    text = (ROOT / "mpiopt" / "README.md").read_text(encoding="utf-8")
    words = {"quadratic": "a quadratic", "own": "one of your own"}
    for method, loss in REFUSED:
        assert re.search(rf"^\| {method} \|.*{words.get(loss, loss)}", text, re.MULTILINE), (method, loss)


def test_the_guides_loss_is_one():
    text = (ROOT / "mpiopt" / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    try:
        exec(compile(program, "guide", "exec"), {"__name__": "guide"})
        own, squares = registry.find("squares"), registry.find("least_squares")
        assert "squares" in registry.names()
        for name in ("value", "slope", "bend", "conjugate"):
            assert [getattr(own, name)(m, 0.5) for m in (-1.0, 0.25)] == [getattr(squares, name)(m, 0.5) for m in (-1.0, 0.25)]
    finally:
        registry._KNOWN.pop("squares", None)
