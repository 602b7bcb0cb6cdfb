"""``mpiopt predict --prompt``: text that a trained transformer writes on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console

if TYPE_CHECKING:
    from mpiopt.comm.world import World

MOST = 1 << 20  # tokens


class Prompt(NamedTuple):
    """What to write on from, and how. length : tokens to write. temperature : 0 for the likeliest."""

    text: str
    length: int
    temperature: float
    seed: int


def prompted(path: Path, prompt: Prompt, world: "World", console: Console) -> dict[str, Any]:
    """Write on from the prompt; one rank does. Collective. Raises MpioptError on every rank."""
    if not (prompt.temperature >= 0 and 1 <= prompt.length <= MOST):
        given = f"--temperature {prompt.temperature:g} --length {prompt.length}"
        raise UsageError(f"{given}: give a number of at least 0, and one of 1 to {MOST:,}")
    with world.together(f"writing on from {path}"):
        text = _written(path, prompt) if world.rank == 0 else ""
    console.show(f"{prompt.text}{text}")
    return {"run": str(path), "prompt": prompt.text, "text": text}


def _written(path: Path, prompt: Prompt) -> str:
    from mpiopt.io.runs.export_module import load
    from mpiopt.io.runs.naming import read_naming
    from mpiopt.io.runs.run_file import read_run
    from mpiopt.io.text.vocabulary import Lexicon
    from mpiopt.jobs.running.own_code import own_model
    from mpiopt.numerics.streams import Streams
    from mpiopt.training.torch.gpt import gpt_of, sampled

    model, naming = str(read_run(path).attributes.get("model", "")), read_naming(path)
    if naming.vocabulary is None:
        raise UsageError(f"{path} is of a model ({model}) that is not of text: name a run of --model gpt")
    if own_model(model):
        raise UsageError(f"{path} is of {model}, which is code of one's own: load the answer into it with mpiopt.load")
    words = Lexicon.read(naming.vocabulary)
    block = next(shape[0] for name, shape in naming.blocks if name == "places.weight")
    module = gpt_of(model, len(words), block)
    load(path, module)
    tokens = words.encoded(prompt.text, "the prompt")
    if not len(tokens):
        raise UsageError("--prompt is empty: give at least a character to go on from, such as a space")
    stream = Streams(prompt.seed)("prompt")
    return words.decoded(sampled(module, np.asarray(tokens), prompt.length, block, prompt.temperature, stream))
