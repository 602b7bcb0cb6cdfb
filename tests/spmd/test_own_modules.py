"""Modules, data, losses and metrics of one's own, from the command line and from Python: `own_nets.py`, `own_shop.py`."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.estimators.train import train
from mpiopt.io.runs.export_module import arrays_of, load
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.commands import parse

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"
GPT = ["--model", "own_nets:TiedGpt", "--data", "own_nets:sentences", "--loss", "own_nets:next_token", "--rule", "adamw"]
SHOP = ["--model", "own_shop:Shop", "--data", "own_shop:orders", "--loss", "own_shop:of_orders", "--test", "own_shop:orders"]
SHOP += ["--rule", "torch:AdamW(amsgrad=True)"]  # whose state is in checkpoints too


@pytest.fixture(scope="module")
def nets():
    """The example, as a module."""
    from mpiopt.jobs.examples import own_nets

    return own_nets


@pytest.fixture(scope="module")
def shop():
    """The other example."""
    from mpiopt.jobs.examples import own_shop

    return own_shop


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with the example and what command lines in it have left; they begin once for all tests."""
    from tests import launcher

    if not launcher.mpiexec():
        pytest.skip("no mpiexec")
    folder = tmp_path_factory.mktemp("own")
    for name in ("own_nets.py", "own_shop.py"):
        shutil.copy(EXAMPLES / name, folder)
    short = ["--lr", "0.01", "--batch", "10", "--set", "period=4"]
    lines = {
        "gpt": [*GPT, *short, "--test", "own_nets:others", "--epochs", "6", "--out", "gpt.h5"],
        "normed": ["--model", "own_nets:NormNet", "--data", "own_nets:rings", *short, "--epochs", "2", "--out", "normed.h5"],
        "shop": [*SHOP, "--also", "again=own_shop:orders", "--metric", "own_shop:accuracy", *short, "--out", "shop.h5"],
        "half": [*SHOP, *short, "--checkpoint", "c.h5", "--every-rounds", "1", "--rounds", "5", "--out", "none"],
        "rest": [*SHOP, *short, "--checkpoint", "c.h5", "--resume", "must", "--out", "rest.h5"],
        "bad": ["--model", "own_nets:Nobody", "--data", "own_nets:rings"],
        "unlike": ["--model", "own_nets:NormNet", "--data", "own_shop:orders"],
        "lone": ["--model", "own_nets:NormNet", "--data", "own_nets:rings", "--batch", "1", "--out", "none"],
    }  # fmt: skip
    found = launcher.series(2, [["train", *line] for line in lines.values()], folder)
    return folder, dict(zip(lines, found, strict=True))


def test_three_kinds_of_modules_from_the_command_line(done):
    folder, found = done
    for name in ("gpt", "normed", "shop", "rest"):
        assert found[name].returncode == 0, found[name].stderr
    run = read_run(folder / "gpt.h5")
    assert run.history["test_loss"][-1] < 1.2 < 2.3 < run.history["test_loss"][0]  # at random: log 12 = 2.48
    assert np.isnan(run.history["accuracy"]).all()  # a loss of one's own does not say what is right
    shop = read_run(folder / "shop.h5")
    assert shop.history["again_accuracy"][-1] == pytest.approx(
        shop.history["accuracy"][-1], abs=0.03
    )  # of 200 rows with errors
    assert "again_loss" in found["shop"].stdout


def test_what_was_saved_is_what_was_examined(done, nets):
    folder, _ = done
    module = nets.TiedGpt()
    load(folder / "gpt.h5", module)
    assert module.write.weight is module.read.weight
    module.eval()
    x, y = nets.others().tensors
    with torch.inference_mode():
        assert nets.next_token(module(x), y).item() == pytest.approx(
            read_run(folder / "gpt.h5").attributes["test_loss"], rel=1e-5
        )
    arrays = arrays_of(folder / "normed.h5")
    assert list(arrays) == list(nets.NormNet().state_dict()) and arrays["1.num_batches_tracked"].shape == ()
    with pytest.raises(UsageError, match="the module is another than was trained"):
        load(folder / "gpt.h5", nets.NormNet())


def test_a_run_with_dropout_and_noisy_items_goes_on_bit_for_bit(done):
    folder, _ = done
    for a, b in zip(read_solution(folder / "rest.h5"), read_solution(folder / "shop.h5"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_faults_of_ones_own_code_are_sentences(done, monkeypatch):
    folder, found = done
    assert [found[name].returncode for name in ("bad", "unlike", "lone")] == [2, 2, 2]
    assert "own_nets:Nobody cannot be loaded (AttributeError" in found["bad"].stderr
    assert "the module cannot take a row" in found["unlike"].stderr and "Traceback" not in found["unlike"].stderr
    assert "Expected more than 1 value per channel" in found["lone"].stderr
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match="which is code, and code is never taken from a run file: give --data"):
        parse(["train", "--config", "gpt.h5"])
    assert parse(["train", "--config", "gpt.h5", *GPT, "--test", "own_nets:others"]).job.model == "own_nets:TiedGpt"


@pytest.mark.ranks(1, 2)
def test_from_python(world, shop, shared_tmp):
    torch.manual_seed(0)
    module, given = (
        shop.Shop(),
        {"loss": shop.of_orders, "method": "local_sgd", "period": 4, "rule": "adamw", "lr": 0.01, "batch": 10},
    )
    given |= {"metrics": {"accuracy": shop.accuracy}, "test": {"first": shop.Orders(60, 1), "second": shop.Orders(30, 2)}}
    found = train(module, shop.orders(), world=world, epochs=3, **given)
    assert found.examined["second_accuracy"][-1] == found.figures["second_accuracy"] > 0.5
    for name, tensor in found.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], tensor, rtol=0, atol=0)
    paths = [shared_tmp / "half.h5", None]
    half, whole = (train(shop.Shop, shop.orders(), world=world, epochs=2, checkpoint=path, **given) for path in paths)
    again = train(shop.Shop, shop.orders(), world=world, epochs=3, checkpoint=paths[0], **given)
    straight = train(shop.Shop, shop.orders(), world=world, epochs=3, **given)
    np.testing.assert_array_equal(half.x, whole.x)
    np.testing.assert_array_equal(again.x, straight.x)
    with pytest.raises(UsageError, match="is of another run: batch was 10 and is 20"):
        train(shop.Shop, shop.orders(), world=world, checkpoint=paths[0], **given | {"batch": 20})


@pytest.mark.ranks(1, 2)
def test_datasets_of_other_kinds(world, nets):
    data = torch.utils.data
    rows = nets.rings()

    class Flow(data.IterableDataset):
        def __iter__(self):
            return iter(rows)

    loader = data.DataLoader(
        rows, collate_fn=lambda items: [torch.stack([x for x, _ in items]), torch.tensor([int(y) for _, y in items])]
    )
    for dataset in (rows, loader, Flow(), rows.tensors, [part.numpy() for part in rows.tensors]):
        found = train(nets.NormNet, dataset, world=world, test=rows, epochs=8, batch=10, lr=0.1, period=4)
        assert found.accuracy > 0.95
    with pytest.raises(UsageError, match="a int is no data set"):
        train(nets.NormNet, 5, world=world)
    with pytest.raises(UsageError, match="has 2 processes of its own"):
        train(nets.NormNet, data.DataLoader(rows, num_workers=2), world=world)
