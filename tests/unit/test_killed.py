"""A training with dropout and torch's AdamW that is killed, and goes on to the same bits."""

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
PROGRAM = """
import os, signal
import numpy as np
import torch
import mpiopt
from mpiopt.jobs.examples.own_shop import Orders, Shop, of_orders

class Deadly(Orders):
    looks, last = 0, None
    def __getitem__(self, number):
        Deadly.looks += 1
        if Deadly.looks == Deadly.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(number)

def trained(checkpoint):
    torch.set_num_threads(1)
    rows = Deadly(60, seed=0)
    return mpiopt.train(Shop, rows, loss=of_orders, test=rows, rule="torch:AdamW(amsgrad=True)", lr=0.01, batch=10, epochs=3,
                        examine=0.3, period=2, checkpoint=checkpoint).x

def apart(run):  # each in a process of its own: none has begun MPI yet
    child = os.fork()
    if not child:
        run()
        os._exit(0)
    return os.waitpid(child, 0)[1]

def killed():
    Deadly.last = 500
    trained("c.h5")

def resumed():
    np.save("again.npy", trained("c.h5"))
    assert Deadly.looks < 2 * 500, "it began anew"

torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # what torch loads for it is loaded once
ended = apart(killed)
assert os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL and os.path.exists("c.h5"), ended
assert apart(resumed) == 0
assert apart(lambda: np.save("straight.npy", trained(None))) == 0
assert np.array_equal(np.load("again.npy"), np.load("straight.npy"))
print("the same bits")
"""


@pytest.mark.study
def test_killed_and_resumed_to_the_same_bits(tmp_path):
    (tmp_path / "deadly.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "deadly.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "the same bits\n"), done.stderr
