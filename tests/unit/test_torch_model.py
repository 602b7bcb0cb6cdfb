"""Torch modules as flat vectors: one memory, torch's own gradients, what is kept beside the parameters."""

import random

import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.problems.buffers import put
from mpiopt.problems.examples import Dense
from mpiopt.problems.model import split
from mpiopt.problems.perceptron import Perceptron, Relu, Tanh
from mpiopt.problems.problem import Point
from mpiopt.training.torch.items import Items
from mpiopt.training.torch.library import use_threads
from mpiopt.training.torch.model import TorchModel
from mpiopt.training.torch.networks import resnet20, small_cnn

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
nn = torch.nn


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    use_threads(1)
    assert torch.get_num_threads() == 1
    yield
    torch.set_num_threads(before)


def stream(seed=0):
    return Streams(seed)("test")


def data(rows=20, dtype=np.float32, features=6):
    rng = np.random.default_rng(0)
    return Dense(rng.standard_normal((rows, features)).astype(dtype), rng.integers(0, 3, rows))


def net(dtype=torch.float32):
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).to(dtype)


def normalised():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


ROWS = np.array([4, 0, 19, 4, 7])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_is_torchs_own(dtype):
    model = TorchModel(lambda: net(getattr(torch, np.dtype(dtype).name)), data(dtype=dtype))
    x = model.initial(stream())
    for rows in (None, ROWS):
        value, gradient = model.value_grad(Point(x), rows)
        model.module.zero_grad()
        chosen = slice(None) if rows is None else rows
        loss = nn.functional.cross_entropy(model.module(torch.tensor(model.data.x[chosen])), torch.tensor(model.data.y[chosen]))
        loss.backward()
        np.testing.assert_array_equal(gradient, np.concatenate([p.grad.reshape(-1) for p in model.module.parameters()]))
        assert value == loss.item() and gradient.dtype == dtype


def test_a_point_that_cannot_be_written_is_taken(recwarn):
    model = TorchModel(net, data())
    x = np.full(model.dim, 0.25, model.x.dtype)
    x.flags.writeable = False
    assert model.evaluate(x) == model.evaluate(x.copy()) and not list(recwarn)


def test_parameters_are_views_of_x():
    model = TorchModel(net, data())
    assert all(np.shares_memory(p.detach().numpy(), model.x) for p in model.module.parameters())
    parts = split(model.x, model.blocks)
    for block, part, (name, p) in zip(model.blocks, parts, model.module.named_parameters(), strict=True):
        assert block.name == name
        np.testing.assert_array_equal(part, p.detach())
    model.x[:] = np.arange(model.dim)
    assert model.module[0].weight[0, 1].item() == 1
    model.value_grad(Point(model.x), ROWS)
    with torch.no_grad():
        model.module[2].bias += 1
    assert model.x[-1] == model.dim


def test_another_point_is_written_into_them_and_left_alone():
    model = TorchModel(net, data())
    where = model.x.ctypes.data
    other = model.initial(stream()).astype(np.float64)
    kept = other.copy()
    value, gradient = model.value_grad(Point(other), ROWS)
    np.testing.assert_array_equal(model.x, other.astype(np.float32))
    np.testing.assert_array_equal(other, kept)
    assert gradient.dtype == np.float64 and model.x.ctypes.data == where
    assert model.value_grad(Point(model.x), ROWS)[0] == value
    gradient[:] = 0
    np.testing.assert_array_equal(model.x, kept.astype(np.float32))


def test_a_gradient_is_the_callers():
    model = TorchModel(net, data())
    first = model.value_grad(Point(model.x), ROWS)[1]
    kept = first.copy()
    model.value_grad(Point(model.x), np.array([1]))
    np.testing.assert_array_equal(first, kept)
    assert all(p.grad is None for p in model.module.parameters())


@pytest.mark.parametrize(("activation", "ours"), [(nn.ReLU, Relu()), (nn.Tanh, Tanh())])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_perceptron_is_a_torch_module_of_the_same_weights(activation, ours, dtype):
    def make():
        layers = nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 5), activation(), nn.Linear(5, 3))
        return layers.to(getattr(torch, np.dtype(dtype).name))

    rows = data(dtype=dtype)
    model, mine = TorchModel(make, rows), Perceptron(rows, (6, 8, 5, 3), ours)

    def turned(x):
        return np.concatenate([part.T.reshape(-1) for part in split(x, model.blocks)])

    for batch in (None, ROWS):
        theirs, found = model.value_grad(Point(model.x), batch), mine.value_grad(Point(turned(model.x)), batch)
        assert found[0] == pytest.approx(theirs[0], rel=1e-6)
        np.testing.assert_allclose(found[1], turned(theirs[1]), rtol=1e-6, atol=1e-6)
    assert mine.evaluate(turned(model.x))[1:] == model.evaluate(model.x)[1:]


def test_chunks_add_up():
    whole, pieces = (TorchModel(net, data(dtype=np.float32), chunk=chunk) for chunk in (512, 3))
    x = whole.initial(stream())
    for rows in (None, ROWS):
        (f, g), (e, h) = whole.value_grad(Point(x), rows), pieces.value_grad(Point(x), rows)
        assert e == pytest.approx(f, rel=1e-6)
        np.testing.assert_allclose(h, g, rtol=1e-5, atol=1e-7)
        a, b = whole.evaluate(x, rows), pieces.evaluate(x, rows)
        assert (b.loss, b.correct, b.rows) == (pytest.approx(a.loss, rel=1e-6), a.correct, a.rows)
    assert pieces.value_grad(Point(x), np.arange(0))[0] == 0 and not pieces.value_grad(Point(x), np.arange(0))[1].any()


def test_a_start_follows_from_the_stream_and_leaves_torchs_generator_alone():
    first, second = TorchModel(normalised, data()), TorchModel(normalised, data())
    before = torch.random.get_rng_state()
    start = first.initial(stream())
    np.testing.assert_array_equal(second.initial(stream()), start)
    assert torch.equal(torch.random.get_rng_state(), before) and not np.shares_memory(start, first.x)
    assert (first.initial(stream(1)) != start).any()


def alike(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class TestBuffers:
    def test_training_moves_them_and_scoring_does_not(self):
        model = TorchModel(normalised, data())
        x, fresh = model.initial(stream()), model.buffers
        assert list(fresh) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
        model.value_grad(Point(x), ROWS)
        moved = model.buffers
        assert not alike(moved, fresh) and moved["1.num_batches_tracked"] == 1
        model.evaluate(x)
        model.evaluate(x, ROWS)
        assert alike(model.buffers, moved)
        model.initial(stream())
        assert alike(model.buffers, fresh)

    def test_they_can_be_taken_and_put_back(self):
        model, other = TorchModel(normalised, data()), TorchModel(normalised, data())
        x = model.initial(stream())
        model.value_grad(Point(x), ROWS)
        other.restore(model.buffers)
        assert other.evaluate(x) == model.evaluate(x)
        taken = model.buffers["1.running_mean"]
        taken += 1
        assert (model.buffers["1.running_mean"] != taken).all()

    def test_statistics_taken_anew_are_those_of_the_rows_and_leave_no_trace(self):
        model = TorchModel(normalised, data())
        x = model.initial(stream())
        model.value_grad(Point(x), ROWS)
        before, where = model.buffers, model.x.copy()
        found = model.settled(2 * x)
        hidden = 2 * (model.data.x @ x[:30].reshape(5, 6).T + x[30:35])
        np.testing.assert_allclose(found["1.running_mean"], hidden.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["1.running_var"], hidden.var(axis=0, ddof=1), rtol=1e-5)
        assert alike(model.buffers, before) and np.array_equal(model.x, where)
        assert model.around == {"1.running_var": "1.running_mean"}

    @pytest.mark.parametrize("rows", [2, 9, 17, 19])
    def test_no_row_is_left_over_alone(self, rows):
        model = TorchModel(normalised, data(rows=19), chunk=8)
        model.settled(model.initial(stream()), np.arange(rows))  # of one row there would be no variance
        model.value_grad(Point(model.x), np.arange(rows))

    def test_frozen_parameters_are_among_them(self):
        def make():
            module = net()
            module[0].weight.requires_grad_(False)
            return module

        model = TorchModel(make, data())
        assert model.dim == 5 + 15 + 3 and [block.name for block in model.blocks] == ["0.bias", "2.weight", "2.bias"]
        assert {name: a.shape for name, a in model.buffers.items()} == {"0.weight": (5, 6)}
        gradient = model.value_grad(Point(model.initial(stream())))[1]
        assert gradient.size == 23 and model.module[0].weight.grad is None

    def test_those_of_another_model(self):
        plain, normed = TorchModel(net, data()), TorchModel(normalised, data())
        with pytest.raises(UsageError, match=r"another model's: 1.running_mean is of shape none, and this model's of \(5,\)"):
            normed.restore({})
        with pytest.raises(UsageError, match=r"1.running_mean was kept beside x, and this model keeps nothing"):
            put(plain, normed.buffers)
        put(plain, {})


def test_a_dataset_is_the_same_rows():
    rows = data()
    items = Items(torch.utils.data.TensorDataset(torch.tensor(rows.x), torch.tensor(rows.y)))
    a, b = TorchModel(net, rows, chunk=6), TorchModel(net, items, chunk=6)
    x = a.initial(stream())
    for batch in (None, ROWS):
        (f, g), (e, h) = a.value_grad(Point(x), batch), b.value_grad(Point(x), batch)
        assert f == e
        np.testing.assert_array_equal(g, h)
        assert a.evaluate(x, batch) == b.evaluate(x, batch)


class Jittered(torch.utils.data.Dataset):
    """Items with noise from every generator that Python knows of."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return self.rows.rows

    def __getitem__(self, number):
        noise = np.float32(random.random() + np.random.random()) + torch.rand(6)
        return torch.tensor(self.rows.x[number]) + noise, int(self.rows.y[number])


def test_what_is_drawn_follows_from_the_stream_and_leaves_no_trace():
    def make():
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))

    def known():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1:3]

    def looked(number, rows=ROWS):
        model.reseed(stream(number))
        return model.value_grad(Point(x), rows)

    model = TorchModel(make, Items(Jittered(data())))
    x, before = model.initial(stream()), known()
    first, again, other = looked(1), looked(1), looked(2)
    assert first[0] == again[0] != other[0] and np.array_equal(first[1], again[1]) and not np.array_equal(first[1], other[1])
    assert model.evaluate(x) == model.evaluate(x) and alike(model.settled(x), model.settled(x)) and model.flawed() is None
    assert str(known()) == str(before)
    np.testing.assert_array_equal(TorchModel(make, data()).x, TorchModel(make, data()).x)


def test_any_loss_on_real_answers():
    rng = np.random.default_rng(0)
    rows = Dense(rng.standard_normal((20, 6)).astype(np.float32), rng.standard_normal((20, 3)))
    model = TorchModel(net, rows, nn.functional.mse_loss)
    z = model.module(torch.tensor(rows.x)).detach().numpy()
    score = model.evaluate(model.x)
    assert score.loss == pytest.approx(20 * ((z - rows.y) ** 2).mean(), rel=1e-5)
    assert np.isnan(score.correct)  # of numbers none is right or wrong


def test_rows_that_may_not_be_written_are_no_trouble(recwarn):
    rows = data()
    rows.x.flags.writeable = False
    model = TorchModel(net, rows)
    model.value_grad(Point(model.x))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (nn.ReLU, "are none: they must be"),
        (lambda: nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 3).double()), "float32 on cpu and torch.float64 on cpu"),
        (lambda: net(torch.bfloat16), "bfloat16"),
    ],
)
def test_modules_that_do_not_fit(make, says):
    with pytest.raises(UsageError, match=says):
        TorchModel(make, data())


def test_points_of_another_model():
    model = TorchModel(net, data())
    with pytest.raises(UsageError, match=r"shape \(54,\) was given to a model of 53 parameters"):
        model.value_grad(Point(np.zeros(54)))


def pictures(shape, rows=64):
    """Pictures of three classes, with a bright stripe each."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 100, (rows, *shape)).astype(np.uint8), rng.integers(0, 3, rows)
    for picture, kind in zip(x, y, strict=True):
        picture[6 * kind + 2 : 6 * kind + 5] = 255
    return Dense(x, y, lambda stored, dtype: np.divide(stored, 255, dtype=dtype))


@pytest.mark.parametrize(
    ("make", "shape", "dim"),
    [(small_cnn, (20, 20), 31050), (small_cnn, (20, 24, 3), 40042), (resnet20, (20, 20, 3), 269722)],
)
def test_presets_learn(make, shape, dim):
    model = TorchModel(lambda: make(shape), pictures(shape))
    x, rows = model.initial(stream()), np.arange(64)
    assert model.dim == dim
    for step in range(40 if make is small_cnn else 12):
        x -= 0.05 * model.value_grad(Point(x), np.roll(rows, 16 * step)[:32])[1]
    model.restore(model.settled(x))
    assert model.evaluate(x).correct >= 58


def test_presets_see_pictures_the_right_way_round():
    x = pictures((20, 24, 3)).x
    for shape, rows, expected in (((20, 24, 3), x, x.transpose(0, 3, 1, 2)), ((20, 24), x[..., 0], x[:, None, :, :, 0])):
        np.testing.assert_array_equal(small_cnn(shape)[0](torch.tensor(rows)), expected)


def test_rows_that_a_module_cannot_take():
    with pytest.raises(UsageError, match=r"cannot take rows of shape \(6,\): .*make module, loss and rows for each other"):
        TorchModel(lambda: nn.Linear(7, 3), data())
    with pytest.raises(DataError, match="class numbers 0 to 2, but a model of 2 outputs"):
        TorchModel(lambda: nn.Linear(6, 2), data())
    with pytest.raises(UsageError, match="at least 16 x 16"):
        small_cnn((15, 40))


@pytest.mark.study
@pytest.mark.parametrize("rows", [None, ROWS])
def test_a_compiled_module_is_the_module_with_its_own_names(rows):
    plain = TorchModel(normalised, data())
    model = TorchModel(lambda: torch.compile(normalised(), backend="eager"), data())
    assert model.blocks == plain.blocks and model.keys == plain.keys and model.around == plain.around
    x = plain.initial(stream())
    np.testing.assert_array_equal(model.initial(stream()), x)
    (value, g), (expected, h) = (each.value_grad(Point(x), rows) for each in (model, plain))
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(g, h, rtol=1e-5, atol=1e-7)
    for name, buffer in plain.buffers.items():
        np.testing.assert_allclose(model.buffers[name], buffer, rtol=1e-6)
    assert model.evaluate(x).correct == plain.evaluate(x).correct


def test_bf16_rounds_the_products_and_keeps_gradients_in_single_precision():
    exact, model = (TorchModel(net, data(), bf16=bf16) for bf16 in (False, True))
    x = exact.initial(stream())
    (value, g), (expected, h) = (each.value_grad(Point(x)) for each in (model, exact))
    assert g.dtype == np.float32 and value != expected and value == pytest.approx(expected, rel=2**-7)
    assert not np.array_equal(g, h)
    np.testing.assert_allclose(g, h, atol=2**-6 * abs(h).max())
