"""bench family: its shapes, what it counts, where it goes on."""

from math import inf, isnan, log

import pytest

from mpiopt.errors import UsageError
from mpiopt.jobs.benches import family
from mpiopt.jobs.benches.family import METHODS, Limit, surveying
from mpiopt.jobs.benches.family_lines import NOWHERE, Raced, Spent, resumed, write
from mpiopt.jobs.benches.family_report import facts, near, report, standings
from mpiopt.jobs.benches.shapes import LARGEST, LITTLE, Drawn, shapes
from mpiopt.jobs.cli.console import Console

SMALL = Drawn("default:rows=90,cols=12,per_row=3,twins=0.2,lone=0.2,scales=1", 270, 12, 1e-3, 4)


def test_shapes_follow_from_the_seed_and_cover_what_they_are_to():
    many = shapes(200, 1)
    assert many == shapes(200, 1) and set(shapes(20, 1)) <= set(many) and not set(many) & set(shapes(200, 2))
    sizes = [shape.size for shape in many]
    assert sizes == sorted(sizes) and max(sizes) <= LARGEST and len({shape.name for shape in many}) == 200
    assert {shape.workers for shape in many} >= {1, 2, 4, 8, 16, 32, 64}
    assert min(shape.cols for shape in many) < 30 and max(shape.cols for shape in many) > 1e6
    assert min(shape.l2 for shape in many) < 1e-8 and max(shape.l2 for shape in many) > 1e-2


def test_the_larger_shapes_are_the_fewer():
    sizes = [shape.size for shape in shapes(300, 3)]
    middle = (LITTLE * LARGEST) ** 0.5
    low, high = sum(LITTLE < size < middle for size in sizes), sum(size >= middle for size in sizes)
    assert 0 < high < low
    assert log(sizes[-1] / LITTLE) > 0.8 * log(LARGEST / LITTLE)


@pytest.mark.ranks(1, 2)
def test_methods_are_counted_by_bytes_alike_on_any_ranks_and_only_what_is_missing_is_run(world, shared_tmp, monkeypatch):
    monkeypatch.setattr(family, "shapes", lambda count, seed: [SMALL][:count])
    quiet, file = Console(first=False), shared_tmp / "f.csv"
    found = surveying(1, 0, 1e-6, Limit(200, 60), file, world, quiet)
    spent = found["spent"][SMALL.name]
    assert list(spent) == list(METHODS) and found["near"] + found["far"] <= 1 and not found["unknown"]
    assert spent["spcg"]["vector_rounds"] == pytest.approx(spent["spcg"]["bytes"] / (8 * 12 * 4))
    assert spent["spcg"]["rounds"] < spent["spcg"]["vector_rounds"] < 60 and spent["spcg"]["form"] == "gathered"
    assert {name: each["vector_rounds"] for name, each in spent.items()} == world.tell(
        {name: each["vector_rounds"] for name, each in spent.items()}
    )
    world.barrier()
    if world.rank == 0:
        file.write_text("".join(line for line in file.read_text().splitlines(True) if ",spcg," not in line))
    monkeypatch.setattr(family, "_goal", None)
    again = surveying(1, 0, 1e-6, Limit(200, 60), file, world, quiet)["spent"][SMALL.name]
    assert again["spcg"] == spent["spcg"] | {"seconds": again["spcg"]["seconds"]}
    assert {name: again[name] for name in METHODS if name != "spcg"} == {
        name: each for name, each in spent.items() if name != "spcg"
    }
    monkeypatch.setattr(family, "_raced", None)
    assert surveying(1, 0, 1e-6, Limit(200, 60), file, world, quiet)["spent"][SMALL.name] == again


def test_a_file_whose_end_is_missing_goes_on_with_whole_lines(tmp_path):
    done, file = {name: Spent(3.5, 2, 10, 0.5, "mean") for name in METHODS}, tmp_path / "f.csv"
    whole = {"a": Raced(0.5, done), "b": Raced(0.25, {name: Spent() for name in METHODS})}
    write(whole | {"u": NOWHERE}, 1e-8, file, "w")
    found = resumed(file, 1e-8)
    assert isnan(found.pop("u").goal) and found == whole
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("u")))
    file.write_text(file.read_text()[: -len(",inf,\n") - 20])
    last = list(METHODS)[-1]
    less = {name: each for name, each in whole["b"].spent.items() if name != last}
    assert resumed(file, 1e-8) == {"a": whole["a"], "b": Raced(0.25, less)} == resumed(file, 1e-8)
    with pytest.raises(UsageError, match="is of --target 1e-08, and this is 1e-06: name another"):
        resumed(file, 1e-6)
    file.write_text("rows,seconds\n1,2\n")
    with pytest.raises(UsageError, match=r"not of this bench .* another file with --csv"):
        resumed(file, 1e-8)


def test_it_tells_near_from_far():
    others = {name: Spent(10.0) for name in METHODS if name != "spcg"}
    found = {f"{ours}": Raced(0.5, {**others, "spcg": Spent(ours)}) for ours in (9.0, 12.0, 19.0, 21.0, inf)}
    found["unsolved"] = NOWHERE
    stands = standings(found)
    assert [at.ours for at in stands] == [inf, 21, 19, 12, 9] and [at.near for at in stands] == [False] * 3 + [True] * 2
    assert [at.far for at in stands] == [True, True, False, False, False]
    told = facts(found, 1e-8, 1)
    assert (told["near"], told["far"], told["unknown"]) == (2, 2, ["unsolved"])
    assert "on 2, above 2 times on 2" in report(found, 1e-8) and "left out: unsolved" in report(found, 1e-8)
    few = {"few": Raced(0.5, {**{name: Spent(1.5) for name in others}, "spcg": Spent(3.4)})}
    assert standings(few)[0].near
    assert near(1.5) == 3.5 and near(100.0) == 120.0


def test_a_number_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="give at least 1 of each"):
        surveying(0, 1, 1e-8, Limit(10, 1), None, None, None)
