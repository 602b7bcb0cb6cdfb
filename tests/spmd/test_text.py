"""Text to rows of tokens, a small transformer on them, and text out of it."""

import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.dense import DenseDataset
from mpiopt.io.images.convert import ImageOptions, convert_dense
from mpiopt.io.text.vocabulary import Lexicon, vocabulary_of
from mpiopt.io.text.windows import TokenWindows

TEXT = "the cat sat on the mät, " * 9


def test_text_comes_back_from_its_tokens(tmp_path):
    (tmp_path / "pieces").write_text('"the "\n"th"\n' + "".join(f'"{c}"\n' for c in sorted(set(TEXT))))
    for kind, count in (
        ("characters", len(TEXT)),
        ("bytes", len(TEXT.encode())),
        (str(tmp_path / "pieces"), len(TEXT) - 3 * 18),
    ):
        found = vocabulary_of(kind, [TEXT])
        tokens = found.encoded(TEXT, "it")
        assert len(tokens) == count and tokens.max() < len(found) and tokens.dtype == found.stored
        assert Lexicon.read(found.text()).decoded(tokens) == TEXT
    with pytest.raises(DataError, match="it has 'Q', for which there is no token"):
        vocabulary_of("characters", [TEXT]).encoded("Q", "it")
    with pytest.raises(UsageError, match="is no list of tokens: give characters, bytes"):
        vocabulary_of("words", [TEXT])


@pytest.mark.ranks(1, 2, 3)
def test_rows_are_windows_of_the_text(world, shared_tmp):
    if world.rank == 0:
        (shared_tmp / "it.txt").write_text(TEXT)
    world.barrier()
    found = vocabulary_of("characters", [TEXT])
    packs, options = [TokenWindows(shared_tmp / "it.txt", found, 10)], ImageOptions(shuffle=3, one_label=True, vocabulary=found)
    convert_dense(world, packs, shared_tmp / "it.h5", options)
    held = DenseDataset.open(shared_tmp / "it.h5", world)
    assert held.item.vocabulary == found and held.item.text() == "10 + 1 tokens of 12 characters"
    x, _ = held.read(0, held.rows, None)
    rows = {found.decoded(row) for row in x}
    assert rows == {TEXT[at : at + 11] for at in range(0, len(TEXT) - 10, 10)} and held.rows == (len(TEXT) - 1) // 10


def test_a_transformer_sees_nothing_of_what_is_to_come():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from mpiopt.training.torch.gpt import gpt, gpt_of, next_token, sampled

    torch.manual_seed(0)
    net = gpt(11, 8, layers=2, width=16, heads=2).eval()
    tokens = torch.randint(11, (3, 8))
    other = tokens.clone()
    other[:, 5] = (other[:, 5] + 1) % 11
    with torch.inference_mode():
        a, b = net(tokens), net(other)
    torch.testing.assert_close(a[:, :5], b[:, :5], rtol=0, atol=0)
    assert (a[:, 5] != b[:, 5]).any() and next_token(a, tokens).item() == pytest.approx(np.log(11), rel=0.1)
    assert sum(p.numel() for p in gpt(65, 128).parameters()) == 818_048  # 4 layers of 198,272, 65 + 128 places of 128, a norm
    likeliest = sampled(net, np.array([1, 2]), 20, 8, 0.0, np.random.default_rng(0))
    assert (
        likeliest.shape == (20,) and (likeliest == sampled(net, np.array([1, 2]), 20, 8, 0.0, np.random.default_rng(1))).all()
    )
    with pytest.raises(UsageError, match="a width that the heads divide"):
        gpt_of("gpt:width=10,heads=4", 11, 8)
    assert [p.shape[0] for p in gpt_of("gpt:1,width=8,heads=1", 11, 8).parameters()][:2] == [11, 8]


@pytest.mark.ranks(2)
def test_a_small_one_learns_a_sentence(world, shared_tmp):
    pytest.importorskip("torch", reason="torch is not installed")
    from mpiopt.estimators.train import train
    from mpiopt.training.torch.gpt import gpt_of, next_token

    found = vocabulary_of("characters", [TEXT])
    tokens = found.encoded(TEXT, "it").astype(np.int64)
    x = np.array([tokens[at : at + 9] for at in range(0, len(tokens) - 9, 3)])
    make = lambda: gpt_of("gpt:layers=1,width=16,heads=2", len(found), 8)  # noqa: E731
    rows = (x[:, :-1], x[:, 1:])
    done = train(
        make,
        rows,
        loss=next_token,
        test=rows,
        world=world,
        method="diloco",
        period=5,
        rule="adamw",
        lr=0.02,
        epochs=24,
        batch=8,
    )
    assert done.test_loss < 1.8 < 2.4 < done.history[0].test_loss and np.isnan(done.accuracy)
