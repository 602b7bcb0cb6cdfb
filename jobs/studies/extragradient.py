"""The same sample twice makes stochastic extragradient converge on bilinear games where fresh samples lead away.

After Mishchenko, Kovalev, Shulgin, Richtarik, Malitsky, Revisiting stochastic extragradient, AISTATS 2020: games of 10 + 10
coordinates and 50 normal matrices, one sample a step, steps of 1 / (2 L); and the best step and negative momentum on bilinear
games by their least singular value, the largest being 1. With --data, grey square pictures such as MNIST, also networks that
draw such pictures, at equal numbers of gradients (extra: torch).
"""

from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.world import World
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Equal, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.pictures import GRADIENTS, SEEDS, Generated, compared, drawn, shown_in, told
from mpiopt.methods.games import extragradient, mirror_prox, simultaneous
from mpiopt.numerics.streams import Streams
from mpiopt.playing.drive import Move, Settled, play
from mpiopt.problems.games import game_of
from mpiopt.problems.gan import Adversaries, centres
from mpiopt.problems.operators import Affine
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.sampling.laws import Draws, Nice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data",)
ROUNDS, EVERY, SEED = 2000, 10, 9
FAR, NEAR = 1e6, 1e-12
METHODS = {"extragradient": "the same sample", "mirror_prox": "independent samples", "simultaneous": "simultaneous gradient"}
LABELS = {**METHODS, "extragradient-noise": "the same sample, noise"}
BUILT = {"extragradient": extragradient, "mirror_prox": mirror_prox, "simultaneous": simultaneous}
SPECTRA = {1.0: (0.866, 0.477), 0.5: (0.919, 0.850), 0.1: (0.9952, 0.9932)}  # least singular value -> rates without and with
STEPS, MOMENTA = np.linspace(0.05, 1.4, 136), np.linspace(-0.6, 0.2, 81)


def run(lab: Lab) -> Findings:
    """Collective."""
    seeds = range(1, lab.pick(21, 2))
    games = [(name, seed, "") for seed in seeds for name in METHODS] + [("extragradient", seed, "noise") for seed in seeds]
    trails = lab.shared(games, lambda world, task: follow(lab, world, *task))
    ends = {name: [trail.readings["distance"] for trail in trails if trail.name == name] for name in LABELS}
    checks = [
        Check(
            f"same sample: distance within {ROUNDS} rounds, the worst of all seeds",
            Below(NEAR),
            max(map(np.min, ends["extragradient"])),
        ),
        Check("independent samples: distance, the least far of all seeds", Above(FAR), min(map(np.max, ends["mirror_prox"]))),
        Check("simultaneous gradient: the same", Above(FAR), min(map(np.max, ends["simultaneous"]))),
        Check.over(
            "same sample with random linear terms: a floor",
            Above(1e-3),
            [float(np.median(far[-20:])) for far in ends["extragradient-noise"]],
        ),
    ]
    tables = {least: best(least) for least in SPECTRA}
    for least, (plain, damped) in SPECTRA.items():
        (rate, *_), (faster, gamma, beta) = tables[least]
        checks.append(Check(f"spectrum [{least:g}, 1]: best rate, no momentum", Near(plain, 1.005), rate))
        checks.append(Check(f"spectrum [{least:g}, 1]: with the best, {beta:.2f}", Near(damped, 1.04), faster))
        checks.append(
            Check(f"spectrum [{least:g}, 1]: followed by a run", Near(faster, 1.02), followed(lab, least, gamma, beta))
        )
        checks.append(Check(f"spectrum [{least:g}, 1]: that momentum is negative", Below(-0.1), beta))
    if not lab.quick:
        networks = [(name, seed) for name in METHODS for seed in (1, 2, 3)]
        found = lab.shared(networks, lambda world, task: adversaries(lab, world, *task))
        near = {name: [each for (other, _), each in zip(networks, found, strict=True) if other == name] for name in METHODS}
        checks += [
            Check(
                "networks: places of 8 that the generator finds, the least of seeds",
                Equal(8),
                min(n for n, _ in near["extragradient"]),
            ),
            *(
                Check.over(
                    f"networks: points near a place, same sample over {METHODS[other]}",
                    Near(1, 2),
                    [a / b for (_, a), (_, b) in zip(near["extragradient"], near[other], strict=True)],
                )
                for other in ("simultaneous", "mirror_prox")
            ),
        ]
    pictures, notes = ([], "") if lab.data is None else _pictures(lab, checks)
    shown = [trail for trail in trails if trail.about["seed"] == 1]
    return Findings(checks, shown, NOTES + notes, {"all": trails, "tables": tables, "pictures": pictures})


def _pictures(lab: Lab, checks: list[Check]) -> tuple[list[Generated], str]:
    """Trainings on the pictures that were named; their checks go to the others. Collective."""
    found, floor = drawn(lab, *lab.pick((GRADIENTS, SEEDS), (32, 1)))
    if not lab.quick:
        checks += compared(found)
    return found, "\n" + told(found, floor)


def follow(lab: Lab, world: World, name: str, seed: int, also: str) -> Trail:
    """One run on one worker, to the end or until it is far away; ``also`` : "noise" for random linear terms. Not collective."""
    text = f"bilinear:noise=0.1,seed={seed}" if also else f"bilinear:seed={seed}"
    game, label = game_of(text), f"{name}-{also}".rstrip("-")
    lab.console.phase = f"running {label}, seed {seed}"
    draws = Draws(Nice(game.whole.rows, 1), Streams(seed), 0)
    team = Team.of(world, [game.whole], game.penalty, seed, [draws])
    moves: list[Move] = []
    played = play(
        BUILT[name](),
        team,
        game.start,
        Settled(ROUNDS, distance=NEAR / 2),
        game.solution,
        [moves.append],
        interruption=lambda: "far away" if moves and moves[-1].distance > 10 * FAR else "",
        due=lambda k: k % EVERY == 0,
    )
    readings = {column: np.array([getattr(move, column) for move in played.history]) for column in Move._fields}
    about = {"seed": seed, "game": text, "sampling": "nice:1"}
    nothing = np.empty((0, 0, 0))
    return Trail(label, name, 1, lab.world.size, game.whole.rows, readings, played.x[None], nothing, about)


def adversaries(lab: Lab, world: World, name: str, seed: int) -> tuple[int, float]:
    """Of a generator of eight spots, trained for as many rounds: those that it finds, and its share of points near one.

    On one worker; not collective.
    """
    lab.console.phase = f"networks by {name}, seed {seed}"
    game = game_of(f"gan:samples=2048,seed={seed}")
    assert isinstance(game.whole, Adversaries)
    team = Team.of(world, [game.whole], game.penalty, seed, [Draws(Nice(2048, 128), Streams(seed), 0)])
    x = play(BUILT[name](0.1), team, game.start, Settled(ROUNDS), due=lambda k: k == ROUNDS).x
    noise = Streams(SEED)("examined").standard_normal((2000, game.whole.noise.shape[1]))
    apart = np.linalg.norm(game.whole.generated(x, noise)[:, None] - centres(), axis=2)
    held = apart.min(axis=1) < 0.2
    return int((np.bincount(apart.argmin(axis=1)[held], minlength=len(centres())) > 20).sum()), float(held.mean())


def best(least: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The least factor by which extragradient shrinks distances in a step, with its step and momentum: without, and with."""
    table = rates(least)
    plain = int(np.argmin(np.abs(MOMENTA)))
    both = np.unravel_index(np.argmin(table), table.shape)
    alone = int(np.argmin(table[:, plain]))
    return (
        (float(table[alone, plain]), float(STEPS[alone]), 0.0),
        (float(table[both]), float(STEPS[both[0]]), float(MOMENTA[both[1]])),
    )


def rates(least: float) -> np.ndarray:
    """The factor for each of STEPS and MOMENTA, (steps, momenta), on a bilinear game with singular values from ``least`` to 1.

    Along a singular value s it is the larger root of r^2 - (1 - gamma^2 s^2 - i gamma s + beta) r + beta.
    """
    gamma, beta, s = STEPS[:, None, None], MOMENTA[None, :, None], np.linspace(least, 1, 60)[None, None]
    b = 1 - (gamma * s) ** 2 + beta - 1j * gamma * s
    root = np.sqrt(b * b - 4 * beta)
    return np.maximum(abs(b + root), abs(b - root)).max(axis=2) / 2


def followed(lab: Lab, least: float, gamma: float, beta: float) -> float:
    """The same factor, of a run on such a game. Collective."""
    values = np.linspace(least, 1, 20)
    a = np.zeros((1, 40, 40))
    a[0, :20, 20:], a[0, 20:, :20] = np.diag(values), -np.diag(values)
    with lab.alone(1) as world:
        team = Team.of(world, [Affine(a, np.zeros((1, 40)), 20)], Zero())
        method = extragradient(gamma, beta)
        far = [move.distance for move in play(method, team, np.ones(40), Settled(400), np.zeros(40)).history]
    last = int(np.argmax(np.array(far) < 1e-12)) or len(far) - 1
    at = np.arange(last // 4, last)
    return float(np.exp(np.polyfit(at, np.log(far)[at], 1)[0]))


NOTES = (
    f"Bilinear games, 50 normal samples of 10 + 10 coordinates, one sample a step, 1 / (2 L), {ROUNDS} steps, over 20 seeds; "
    "runs end once they are within 1e-12 of the solution, or ten million times the start away. With random linear terms "
    "(deviation 0.1) the samples have no solution in common, and distances keep a floor. Rates: the factor a step at the "
    "best of a grid of steps and momenta, by the roots of the recursion; those published are plots, those expected here are "
    "of a computation apart. Followed: the factor of a run of ours with that step and momentum. Networks: a generative "
    f"adversarial game about eight normal spots, step 0.1, 128 samples, {ROUNDS} rounds, three seeds; near: within 0.2. All "
    "but simultaneous steps take two gradients a round. Which of them is ahead changes from seed to seed: no gain is seen here."
)


def draw(found: Findings) -> "Figure":
    """Distances against rounds; the rate over step and momentum; where there are pictures, how far they are from real ones."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    pictures = found.facts["pictures"]
    with sheet(4 if pictures else 2, width=4.6 if pictures else 6, height=4.4) as (figure, (panels,)):
        for number, (name, label) in enumerate(LABELS.items()):
            runs = [trail for trail in found.facts["all"] if trail.name == name]
            for k, trail in enumerate(runs):
                look = {"alpha": 1.0 if len(runs) == 1 else 0.35, "linewidth": 1.0}
                curve(panels[0], trail.readings["round"], trail.readings["distance"], number, label if not k else None, **look)
        logarithmic(panels[0], 1e-13)
        panels[0].set(xlabel="rounds", ylabel="distance from the solution", title="One sample a step, all seeds")
        for number, (least, (plain, damped)) in enumerate(found.facts["tables"].items()):
            best_steps = rates(least).min(axis=0)
            curve(panels[1], MOMENTA, 1 - best_steps, number, f"spectrum [{least:g}, 1]")
            for rate, _, beta in (plain, damped):
                panels[1].plot([beta], [1 - rate], "o", color="black", markersize=4)
        logarithmic(panels[1])
        panels[1].set(xlabel="momentum", ylabel="1 - rate at the best step", title="Momentum (dots: none, best)")
        panels[1].legend(frameon=False)
        if pictures:
            shown_in(panels[2], panels[3], pictures)
        legend(figure, panels[0], 4)
        return figure
