"""The command lines of a snapshot: every command, every method, the options one by one, and what is refused."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mpiopt.jobs.cli.commands import COMMANDS
from tests.image_files import idx

SOLVE = ["solve", "rows.h5", "--l2", "1e-2", "--deterministic", "--workers", "3", "--out", "r.h5"]
TRAIN = [
    "train",
    "--data",
    "blobs:rows=90,features=4",
    "--model",
    "mlp:3",
    "--epochs",
    "1",
    "--batch",
    "5",
    "--deterministic",
    "--workers",
    "3",
    "--out",
    "r.h5",
]
COMPRESSORS = """identity fp16 bf16 topk:0.5 randk:0.5 block:4 permk sign scaled_sign two_means qsgd:bits=4 terngrad natural
    natural_dithering sketch kashin powersgd:rank=1 vote topk:0.5+natural""".split()
BIASED = "fp16 bf16 topk:0.5 scaled_sign two_means powersgd:rank=1 topk:0.5+natural".split()  # these need error feedback
RULES = "sgd momentum nag torch_momentum torch_nag adagrad adadelta rmsprop adam adamw lion schedule_free muon".split()
NOISE = ("mpiopt", "what")  # words of the headings
PERIODLESS = "sgd one_shot async_sgd scaffnew dpf incremental_pruning one_shot_pruning".split()  # take no period
REFUSED = {  # the beginning of command lines, and their ends
    "": "nothing",
    "solve": """
        nowhere.h5 | three.h5 | real.h5 | noise.h5 | short.h5 | a.h5 | pictures.h5 | rows.svm | rcv1:rows=-3 |
        rcv1:nothing=3 | nothing:rows=3
    """,
    "solve rows.h5": """
        --method nothing | --method easgd | --l1 0.1 | --l2 -1 | --l2 word | --rounds 1.5 | --unknown 1 |
        --set nothing=1 | --set accuracy=word | --set accuracy | --compress nothing | --compress topk:0.1 |
        --error-feedback | --resume must | --every-rounds 2 | --checkpoint c.h5 --resume must | --checkpoint a.h5 |
        --out a.h5 | --out rows.h5 --overwrite | --out a.h5 --from a.h5 | --from t.h5 | --from noise.h5 |
        --config nowhere.toml | --config bad.toml | --workers 0 | --check-against cpu | --device gpu | --positive 7 |
        --l2 0 --method spcg --rounds 3 | --l2 0 --method dane --rounds 3
    """,
    "train": """
        nothing | --method spcg | --method nothing | --model nothing | --rule nothing | --data rows.h5 |
        --data nowhere.h5 | --batch 0 | --batch 9999 --data blobs:rows=50 | --epochs 0 | --accuracy 2 |
        --accuracy 0.5 --data pictures.h5 | --redundancy 0 | --redundancy 2 --ownership shared | --compress topk:0.1 |
        --link ef | --clients 2 --method easgd | --dead 9 | --delay 9:x | --device gpu | --set period=0 | --set lr=1 |
        --lr 1e30 --epochs 1 --data blobs:rows=60 --rule sgd
    """,
    "convert": """
        nowhere.svm new.h5 | bad.svm new.h5 | empty.svm new.h5 | one.svm new.h5 | rows.svm |
        pictures.npz new.h5 --normalize l2 | small-images-idx3-ubyte new.h5
    """,
    "convert rows.svm": """
        rows.h5 | rows.svm | new.h5 --normalize channels | new.h5 --base 7 | new.h5 --features 3 | new.h5 --gzip 12 |
        new.h5 --shards 0 | pictures.npz new.h5
    """,
    "describe": "nowhere.h5 | noise.h5 | short.h5 | a.h5 | rows.svm",
    "report": "nowhere.h5 | rows.h5 | noise.h5 | a.h5 t.h5 | a.h5 --png p.nothing",
    "watch": "nowhere.h5 | rows.h5",
    "methods": "nothing",
    "reproduce": "nothing | leader-escapes --data rows.h5",
    "bench": "nothing | sums --runs 0",
    "slurm": "nothing | describe rows.h5",
    "slurm solve rows.h5": "--time soon | --nodes 0 | --array l2 | --unknown 1 | --signal-margin 9999",
}


class Line(NamedTuple):
    """Commands that run one after the other in one folder. loose : their numbers are those of the machine or the moment."""

    name: str
    commands: list[list[str]]
    ranks: int = 1
    loose: bool = False


def prepare(folder: Path, mpiopt: Callable[..., object]) -> None:
    """The files that the lines begin with."""
    draws = random.Random(5)
    rows = [[draws.choice((-1, 1)), *sorted(draws.sample(range(1, 41), draws.randint(1, 9)))] for _ in range(60)]
    text = [f"{y} " + " ".join(f"{j}:{draws.choice(('1', '0.5', '-2', '0.25'))}" for j in columns) for y, *columns in rows]
    (folder / "rows.svm").write_text("\n".join(text) + "\n")
    (folder / "real.svm").write_text("\n".join(f"{k / 7:.4f} {line.partition(' ')[2]}" for k, line in enumerate(text)) + "\n")
    (folder / "three.svm").write_text("\n".join(f"{k % 3} {line.partition(' ')[2]}" for k, line in enumerate(text)) + "\n")
    (folder / "bad.svm").write_text("1 1:1\n-1 2:x\n")
    (folder / "one.svm").write_text("1 1:1\n1 2:1\n")
    (folder / "empty.svm").write_text("")
    (folder / "job.toml").write_text('data = "rows.h5"\nl2 = 1e-2\nmethod = "lbfgs"\ndeterministic = true\n')
    (folder / "bad.toml").write_text("ll2 = 1e-2\n")
    (folder / "noise.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 4)
    pixels = np.random.default_rng(2).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    np.savez(folder / "pictures.npz", x=pixels, y=np.arange(30) % 3)
    (folder / "small-images-idx3-ubyte").write_bytes(idx(pixels))
    (folder / "small-labels-idx1-ubyte").write_bytes(idx((np.arange(30) % 3).astype(np.uint8)))
    for name in ("rows", "real", "three"):
        mpiopt("convert", f"{name}.svm", f"{name}.h5")
    mpiopt("convert", "pictures.npz", "pictures.h5")
    mpiopt(*SOLVE[:-1], "a.h5")
    mpiopt(*SOLVE[:-1], "b.h5", "--method", "lbfgs")
    mpiopt(*TRAIN[:-1], "t.h5")
    mpiopt(*TRAIN[:-1], "u.h5", "--method", "easgd", "--set", "period=2")
    whole = (folder / "rows.h5").read_bytes()
    (folder / "short.h5").write_bytes(whole[: len(whole) // 2])


def methods(told: str) -> tuple[list[str], list[str]]:
    """Those that solve and those that train, from what ``mpiopt methods`` prints."""
    parts = told.split("mpiopt train", 1)
    solving, training = ([name for name in re.findall(r"^([a-z]\w*) ", part, re.M) if name not in NOISE] for part in parts)
    return solving, training


def lines(told: str) -> list[Line]:
    """All of them; ``told`` is what ``mpiopt methods`` prints."""
    solving, training = methods(told)
    found = [*_solves(solving), *_options(), *_trains(training), *_files(), *_others([*solving, *training]), *_refused()]
    assert len({line.name for line in found}) == len(found)
    return found


def _solves(names: list[str]) -> Iterator[Line]:
    for k, name in enumerate(names):
        yield Line(f"solve {name}", [[*SOLVE, "--method", name, "--rounds", "40"]])
        if k % 3 == 0:
            yield Line(f"solve {name} on {2 + k % 2} ranks", [[*SOLVE, "--method", name, "--rounds", "9"]], ranks=2 + k % 2)


def _options() -> Iterator[Line]:
    options = {
        "intercept": "--intercept",
        "float64": "--values float64",
        "real": "--loss least_squares",
        "seed": "--seed 3",
        "rounds": "--rounds 2",
        "bytes": "--bytes 2000",
        "gradient": "--gradient-tol 1e-3",
        "strict": "--rounds 1 --strict",
        "gap": "--gap-tol 1e-4",
        "mu": "--method dane --mu 0.1",
        "server": "--method server_dane --server-rows 7",
        "set": "--set accuracy=0.01",
        "from": "--from a.h5",
        "jacobi": "--method lbfgs --set jacobi=true",
        "l1": "--method fista --l1 0.01",
        "l1 prox": "--method prox_gradient --l1 0.01",
        "json": "--json",
        "watchdog": "--watchdog 50 --watchdog-abort 100",
        "margin": "--margin 5",
        "force": "--compress topk:0.1 --force",
        "least cocoa": "--loss least_squares --method cocoa",
        "least newton": "--loss least_squares --method giant",
        "l1 intercept": "--method fista --l1 0.01 --intercept --loss least_squares",
        "debug": "--debug --set nothing=1",
    }
    for name, words in options.items():
        yield Line(f"solve with {name}", [[*SOLVE, *words.split()]])
    for workers in ("1", "80"):
        argv = ["solve", "rows.h5", "--l2", "1e-2", "--workers", workers, "--out", "r.h5"]
        yield Line(f"solve with {workers} workers", [argv])
    yield Line("solve reals", [["solve", "real.h5", *SOLVE[2:], "--loss", "least_squares"]], ranks=2)
    yield Line("solve three", [["solve", "three.h5", *SOLVE[2:], "--positive", "2"]])
    yield Line("solve three by rule", [["solve", "three.h5", *SOLVE[2:], "--positive", "<=1"]])
    yield Line("solve generator", [["solve", "rcv1:rows=80,cols=60,per_row=5", *SOLVE[2:]]], ranks=3)
    yield Line("solve default", [["solve", "--rounds", "1", "--deterministic"]])
    yield Line("solve job file", [["solve", "--config", "job.toml", "--out", "r.h5"]])
    yield Line("solve again from a run", [["solve", "--config", "a.h5", "--out", "r.h5"]])
    yield Line("solve dry", [[*SOLVE, "--dry-run"]], loose=True)
    yield Line("solve dry on 2 ranks", [[*SOLVE, "--dry-run", "--method", "giant"]], ranks=2, loose=True)
    kept = [*SOLVE, "--checkpoint", "c.h5"]
    for name in ("spcg", "lbfgs", "spag", "diana", "cocoa"):
        argv = [*kept, "--method", name, "--every-rounds", "1", "--overwrite"]
        yield Line(f"solve goes on {name}", [[*argv, "--rounds", "2"], [*argv, "--rounds", "5"]])
    yield Line("solve goes on from 2 ranks", [[*kept, "--rounds", "2"], [*kept, "--overwrite", "--resume", "must"]], ranks=2)
    yield Line("solve anew", [[*kept, "--rounds", "2"], [*kept, "--overwrite", "--rounds", "3", "--resume", "never"]])
    yield Line("solve another from a checkpoint", [[*kept, "--rounds", "2"], [*kept, "--overwrite", "--intercept"]])
    for name in COMPRESSORS:
        more = ["--compress", name] + ["--error-feedback"] * (name in BIASED) + ["--force"] * (name == "sign")
        if not name.startswith(("powersgd", "vote")):
            yield Line(f"solve sends {name}", [[*SOLVE, *more, "--rounds", "5"]])
        yield Line(f"train sends {name}", [[*TRAIN, "--method", "sgd", *more]])


def _trains(names: list[str]) -> Iterator[Line]:
    for k, name in enumerate(names):
        short = ["--set", "period=2"] if name not in PERIODLESS else []
        yield Line(f"train {name}", [[*TRAIN, "--method", name]])
        if not name.startswith(("async", "downpour")) and k % 3 == 0:
            yield Line(f"train {name} on {2 + k % 2} ranks", [[*TRAIN, "--method", name, *short]], ranks=2 + k % 2)
    for rule in RULES:
        yield Line(f"train by {rule}", [[*TRAIN, "--rule", rule, "--set", "period=2"]])
    options = {
        "cosine": "--schedule cosine",
        "step": "--schedule step",
        "inverse": "--schedule inverse",
        "warmup": "--warmup 0.5",
        "decay": "--decay 0.1",
        "clip": "--clip 0.5",
        "shared": "--ownership shared",
        "turns": "--ownership turns",
        "redundancy": "--redundancy 2",
        "clients": "--method fedavg --clients 2",
        "dead": "--dead 1",
        "accuracy": "--accuracy 0.2",
        "rounds": "--rounds 2",
        "bytes": "--bytes 900",
        "record": "--record 0.5 --examine 0.5",
        "own": "--own",
        "leader": "--method lsgd --leader",
        "lr": "--lr 0.01 --momentum 0.5",
        "strict": "--accuracy 1 --strict",
        "json": "--json",
        "from": "--from t.h5",
        "ef21": "--method sgd --compress topk:0.5 --link ef21",
        "diana": "--method sgd --compress randk:0.5 --link diana",
        "back": "--method sgd --compress topk:0.5 --link ef --back natural",
        "config": "--config u.h5",
        "delay": "--delay 1:2",
    }
    for name, words in options.items():
        yield Line(f"train with {name}", [[*TRAIN, *words.split()]])
    for model in ("softmax", "mlp:4,3"):
        yield Line(f"train {model}", [[model if word == "mlp:3" else word for word in TRAIN]])
    yield Line("train pictures", [["train", "--data", "pictures.h5", "--test", "pictures.h5", *TRAIN[3:]]], ranks=2)
    for name in ("local_sgd", "easgd", "scaffold"):
        argv = [*TRAIN, "--method", name, "--set", "period=2", "--checkpoint", "c.h5", "--overwrite"]
        yield Line(f"train goes on {name}", [[*argv, "--rounds", "2"], [*argv]])


def _files() -> Iterator[Line]:
    yield Line("convert", [["convert", "rows.svm", "new.h5"]], ranks=2)
    yield Line("convert on 3 ranks", [["convert", "rows.svm", "three.svm", "new.h5", "--shards", "3"]], ranks=3)
    yield Line("convert pictures", [["convert", "pictures.npz", "new.h5", "--normalize", "channels"]], ranks=2)
    for words in (
        "--normalize l2",
        "--shuffle 3",
        "--no-shuffle",
        "--shards 2",
        "--base 0",
        "--features 50",
        "--gzip 3",
        "--values float64",
        "--memory 1",
        "--json",
    ):
        yield Line(f"convert {words}", [["convert", "rows.svm", "new.h5", *words.split()]])
    yield Line("convert one label", [["convert", "one.svm", "new.h5", "--one-label"]])
    yield Line("convert idx", [["convert", "small-images-idx3-ubyte", "small-labels-idx1-ubyte", "new.h5"]])
    yield Line(
        "convert like",
        [
            ["convert", "pictures.npz", "p.h5", "--normalize", "channels"],
            ["convert", "pictures.npz", "new.h5", "--like", "p.h5"],
        ],
    )
    yield Line("convert over", [["convert", "three.svm", "rows.h5", "--overwrite"]])
    for name in ("rows", "real", "three", "pictures"):
        yield Line(f"describe {name}", [["describe", f"{name}.h5"], ["describe", f"{name}.h5", "--json"]])
    yield Line("describe unchecked", [["describe", "rows.h5", "--no-check"]])
    for names in (
        "a.h5",
        "a.h5 b.h5",
        "t.h5",
        "t.h5 u.h5",
        "a.h5 --reference b.h5",
        "a.h5 b.h5 --json",
        "t.h5 u.h5 --json",
        "a.h5 b.h5 --out p.html",
        "t.h5 u.h5 --png p.png",
    ):
        yield Line(f"report {names}", [["report", *names.split()]])
    for name in "abtu":
        yield Line(f"watch {name}", [["watch", f"{name}.h5", "--once"], ["watch", f"{name}.h5", "--json"]], loose=True)


def _others(names: list[str]) -> Iterator[Line]:
    yield Line("help", [["--help"], ["--version"], []])
    for command in COMMANDS:
        yield Line(f"{command} help", [[command, "--help"]])
    lists = (["methods"], ["methods", "compressors"])
    yield Line("methods", [[*argv, *more] for argv in lists for more in ([], ["--json"])])
    yield Line("every method", [["methods", name] for name in names])
    yield Line("every compressor", [["methods", re.split("[:+]", name)[0]] for name in COMPRESSORS])
    yield Line("reproduce list", [["reproduce"], ["reproduce", "--json"]])
    for name in ("kashin", "optimizer-animation", "leader-escapes", "shifted-compression"):
        yield Line(f"reproduce {name}", [["reproduce", name, "--quick"]])
    yield Line("doctor", [["doctor"]], loose=True)
    yield Line("doctor on 2 ranks", [["doctor"]], ranks=2, loose=True)
    yield Line("bench sums", [["bench", "sums", "--runs", "1"]], ranks=2, loose=True)
    yield Line("bench compress", [["bench", "compress", "--data", "topk:0.01", "--largest", "1e4", "--runs", "1"]], loose=True)
    for words in (
        "solve rows.h5 --l2 1e-3 --nodes 2 --time 1:00:00",
        "solve rows.h5 --array l2=1e-3,1e-4",
        "report a.h5 b.h5",
        "train mnist-mlp --nodes 2 --tasks-per-node 4",
        "convert rows.svm new.h5",
        "solve --device gpu",
        "solve rows.h5 --out-script s.sbatch --env env.sh --mpi pmi2",
    ):
        yield Line(f"slurm {words}", [["slurm", *words.split()]])


def _refused() -> Iterator[Line]:
    for begin, ends in REFUSED.items():
        for end in ends.split("|"):
            words = f"{begin} {end}".split()
            yield Line(f"refused {' '.join(words)}", [words])
    for line in (
        "solve nowhere.h5",
        "convert bad.svm new.h5",
        "train --method nothing",
        "solve short.h5",
        "solve rows.h5 --l1 1",
    ):
        yield Line(f"refused on 3 ranks {line}", [line.split()], ranks=3)
