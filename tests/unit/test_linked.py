"""Which compressors go with which links and methods, and the sentences where they do not."""

import numpy as np
import pytest

from mpiopt.engine.drive import rounds
from mpiopt.errors import CapabilityError, NumericalError, UsageError
from mpiopt.exchange.compressed import Compressed, Vote
from mpiopt.exchange.feedback import ErrorFeedback, TwoWay
from mpiopt.exchange.lowrank import LowRank
from mpiopt.exchange.shifted import Shifted
from mpiopt.io.dataset.synthetic import Synthetic
from mpiopt.jobs.cli.flags import flagged, switches
from mpiopt.jobs.cli.method_options import advised
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.reports.comparison import compressing
from mpiopt.jobs.running.solving import described
from mpiopt.jobs.solve import method_of
from mpiopt.jobs.train import complete
from mpiopt.methods import find, training
from mpiopt.methods.averaging import hierarchical_sgd, local_sgd, one_shot, sgd
from mpiopt.methods.federated import fedavg
from mpiopt.methods.linked import SOLVING, linked
from mpiopt.methods.reducing import Reducing
from mpiopt.problems.penalties import L2
from mpiopt.sampling.clients import Clients
from mpiopt.transforms import rules
from tests.problem_sets import Data

RULE = rules.sgd(0.1)


def link(compress: str, *how, method=None, name="sgd", **more):
    return linked(sgd(RULE) if method is None else method, name, compress, *how, **more).phases[-1].exchange


# ---------------------------------------------------------------------------------------------- what is made
def test_links_are_exchanges_around_one_another():
    assert isinstance(link("randk:0.1"), Compressed) and isinstance(link("vote"), Vote)
    for text in (
        "topk:0.01",
        "scaled_sign",
        "two_means",
        "natural",
        "fp16",
        "shrunk:qsgd:4",
        "randk:0.1,scaled=no",
        "shrunk:permk",
    ):
        assert isinstance(link(text, "ef"), ErrorFeedback) and isinstance(link(text, "ef").inner, Compressed)
    assert link("topk:0.01", "ef21").alpha == 1 and link("qsgd:4", "diana").alpha is None
    assert isinstance(link("powersgd:2", "ef").inner, LowRank)
    both = link("topk:0.01", "ef", "scaled_sign")
    assert isinstance(both, TwoWay) and isinstance(both.inner, ErrorFeedback)
    assert isinstance(link("topk:0.01", "ef21", "topk:0.5").inner, Shifted)


def test_only_the_last_mean_is_compressed():
    plain = find("dane").make()
    found = linked(plain, "dane", "topk:0.1", "ef")
    assert found.opening == plain.opening and found.phases[-1].work == plain.phases[-1].work and found.outer == plain.outer


def test_of_several_forms_those_with_a_direction_are_compressed():
    found = linked(find("spcg").make(), "spcg", "topk:0.1", "ef").inner
    assert sorted(found.forms) == ["alone", "counts", "mean"]
    assert all(isinstance(form.phases[-1].exchange, ErrorFeedback) for form in found.forms.values())
    with pytest.raises(CapabilityError, match="spcg does not end its rounds with a mean that could be compressed"):
        linked(find("spcg").make(form="hessian"), "spcg", "topk:0.1", "ef")


@pytest.mark.parametrize("text", ["topk:k=2000000", "randk:k=3000000,scaled=no"])
def test_more_coordinates_than_a_typical_model_has_may_be_kept(text):
    assert isinstance(link(text, "ef"), ErrorFeedback)


@pytest.mark.parametrize("how", [("topk:0.1", "ef"), ("qsgd:4", "plain"), ("topk:0.1", "ef", "topk:0.5")])
def test_those_that_take_part_are_those_of_the_method(how):
    some = Clients(3)
    for method in (local_sgd(RULE, 4, some), fedavg(RULE, 4, clients=some)):
        found = linked(method, method.name, *how)
        assert found.clients == some and not found.phases[-1].exchange.needs_all


# ---------------------------------------------------------------------------------------------- what is refused
BIASED = "is biased, and without error feedback a method may go astray: add `error_feedback`"
REFUSED = {
    ("topk:0.1",): f"topk:0.1 {BIASED}",
    ("sign",): "sign is biased, and without error feedback a method may go astray: take scaled_sign or topk:0.01 and add",
    ("scaled_sign", "diana"): "scaled_sign is biased, and the shifts of `link=diana` are for unbiased compressors: take",
    ("powersgd",): rf"powersgd {BIASED}, or insist",
    ("randk:0.1", "ef"): "randk:0.1 is no contraction, and error feedback would let the memory grow: take shrunk:randk:0.1, or",
    ("qsgd:4", "ef21"): "qsgd:4 is no contraction",
    ("permk", "ef"): "permk is no contraction, and error feedback would let the memory grow: take shrunk:permk",
    ("sign", "ef"): "sign is no contraction, and error feedback would let the memory grow: take scaled_sign or topk:0.01, or",
    ("topk:0.1", "ef", "sign"): "sign is no contraction, and the memory of the way back would grow",
    ("topk:0.1", "ef", "randk:0.5"): "randk:0.5 is no contraction, and the memory of the way back would grow: take shrunk",
}


@pytest.mark.parametrize("how", REFUSED, ids=" ".join)
def test_what_no_theory_allows_is_refused_unless_forced(how):
    with pytest.raises(CapabilityError, match=REFUSED[how]):
        link(*how)
    assert link(*how, force=True) is not None


@pytest.mark.parametrize(
    ("how", "kind", "sentence"),
    [
        (("topk:0.1", "ef22"), UsageError, "there is no link 'ef22': choose one of plain, ef, ef21, diana"),
        (("vote", "ef"), UsageError, "a vote keeps nothing that a link of kind ef could remember: leave the link out"),
        (("powersgd", "ef21"), CapabilityError, "powersgd goes with error feedback .*, not with ef21"),
        (("powersgd", "diana"), CapabilityError, "not with diana"),
        (("topk:0.1", "ef", "powersgd"), UsageError, "powersgd cannot be used on the way back: take a compressor of vectors"),
        (("topq:0.1",), UsageError, "there is no compressor 'topq'"),
        (("topk:1.5", "ef"), UsageError, "the fraction kept is 1.5"),
        (("topk:k=0", "ef"), UsageError, "k is 0: give at least 1"),
    ],
)
def test_what_cannot_be_is_refused_also_by_force(how, kind, sentence):
    for force in (False, True):
        with pytest.raises(kind, match=sentence):
            link(*how, force=force)


@pytest.mark.parametrize("how", [("vote",), ("powersgd", "ef"), ("topk:0.1", "ef21"), ("qsgd:4", "diana")])
def test_memories_of_all_need_all(how):
    with pytest.raises(CapabilityError, match="needs all workers in every round: leave `clients` and `dead` out"):
        link(*how, method=local_sgd(RULE, 4, Clients(2)))


@pytest.mark.parametrize("name", ["gradient", "lbfgs", "cocoa", "spag", "server_dane", "diana", "tron"])
def test_methods_without_a_mean_at_the_end_are_refused(name):
    with pytest.raises(CapabilityError, match=f"{name} does not end its rounds with a mean that could be compressed: use one"):
        link("topk:0.1", "ef", method=find(name).make(), name=name)


@pytest.mark.parametrize("method", [hierarchical_sgd(RULE), one_shot(RULE, 9)])
def test_points_are_not_compressed(method):
    with pytest.raises(CapabilityError, match=r"agrees on points, which do not become small|does not end its rounds"):
        link("topk:0.1", "ef", method=method, name="some")
    asynchronous = find("downpour", training()).make(rule=RULE)
    with pytest.raises(CapabilityError, match="does not end its rounds"):
        link("topk:0.1", "ef", method=asynchronous, name="downpour")


# ---------------------------------------------------------------------------------------------- methods of their own
@pytest.mark.parametrize("name", ["dcgd", "diana", "rand_diana", "marina", "gdci", "vr_gdci"])
def test_methods_for_the_unbiased_name_those_for_the_others(name):
    sentence = f"{name} needs an unbiased compressor, and topk:0.1 is not: take randk, .* error feedback around it .ef, ef21."
    with pytest.raises(CapabilityError, match=sentence):
        find(name).make(compress="topk:0.1")
    assert find(name).make(compress="topk:0.1", force=True) is not None
    with pytest.raises(CapabilityError, match="powersgd compresses the matrices of a model: use it in mpiopt train"):
        find(name).make(compress="powersgd", force=True)


@pytest.mark.parametrize("name", ["ef", "ef21"])
def test_low_rank_is_for_models(name):
    with pytest.raises(CapabilityError, match="powersgd compresses the matrices of a model: use it in mpiopt train"):
        find(name).make(compress="powersgd")


@pytest.mark.ranks(1, 2)
def test_steps_that_theory_does_not_know_are_asked_for_on_every_rank(worlds):
    world = worlds(workers=3)

    def refused(name, sentence, l2=1e-2, **given):
        team = Data(rows=40, features=8).team(world, L2(l2))
        with pytest.raises(CapabilityError, match=sentence):
            next(rounds(find(name).make(**given), team, np.zeros(8)))

    refused("ef", "is no contraction: take one that is, .* or give the step size yourself", compress="randk:0.1")
    refused("ef21", "is no contraction", compress="sign")
    for name in ("dcgd", "marina"):
        given = {"probability": 0.5} if name == "marina" else {}
        refused(name, "no variance constant is known .*: give the step size yourself", compress="topk:0.5", force=True, **given)
    for name in ("gdci", "vr_gdci"):
        refused(name, "finds its steps from strong convexity, and there is none: give `l2` above 0", l2=0.0)
        refused(name, "finds its steps from strong convexity", l2=0.0, gamma=1.0)


# ---------------------------------------------------------------------------------------------- jobs
def test_options_about_compression_need_it():
    for given in ({"error_feedback": True}, {"force": True}):
        with pytest.raises(UsageError, match="are about compressed messages: give --compress too"):
            method_of(Solve(**given))
        with pytest.raises(UsageError, match="are about compressed messages: give --compress too"):
            complete(Train(**given))
    for given in ({"link": "ef21"}, {"back": "topk:0.1"}):
        with pytest.raises(UsageError, match="are about compressed messages: give --compress too"):
            complete(Train(**given))
    with pytest.raises(UsageError, match="--error-feedback is --link ef, and --link is diana: leave one of them out"):
        complete(Train(compress="qsgd:4", error_feedback=True, link="diana"))
    assert complete(Train(compress="topk:0.1", error_feedback=True)).link == "ef"


def test_solve_compresses_what_can_be():
    assert isinstance(last_exchange(Solve(compress="topk:0.1", error_feedback=True)), ErrorFeedback)
    assert isinstance(last_exchange(Solve(compress="qsgd:8", method="dane")), Compressed)
    assert isinstance(last_exchange(Solve(compress="topk:0.1", force=True)), Compressed)


def last_exchange(job):
    method = method_of(job)
    return (method.inner.forms["counts"] if isinstance(method, Reducing) else method).phases[-1].exchange


ADVISED = {
    ("topk:0.1", False, "spcg"): "topk:0.1 is biased, and .*: add `error_feedback`, or insist with `force`",
    ("randk:0.1", True, "spcg"): "take shrunk:randk:0.1, or leave `error_feedback` out, or insist with `force`",
    ("sign", True, "spcg"): "take scaled_sign or topk:0.01, or insist with `force`",
    ("vote", True, "spcg"): "a vote keeps nothing that error feedback could remember: leave `error_feedback` out",
    ("powersgd", True, "spcg"): "powersgd compresses the matrices of a model, and a linear one has none: take topk:0.01",
    ("qsgd:8", False, "tron"): "tron does not end its rounds with a mean .*, such as spcg, dane or giant$",
    ("qsgd:8", False, "diana"): "diana compresses its messages itself: give --set compress=qsgd:8 in place of --compress",
}


@pytest.mark.parametrize("how", ADVISED, ids=str)
def test_solve_is_given_advice_that_it_can_follow(how):
    compress, feedback, method = how
    with pytest.raises((CapabilityError, UsageError), match=ADVISED[how]) as found:
        method_of(Solve(compress=compress, error_feedback=feedback, method=method))
    options = {word.strip(":,.") for word in flagged(str(found.value), switches(Solve())).split() if word.startswith("--")}
    assert options <= {f"--{name.replace('_', '-')}" for name in Solve.__dataclass_fields__}


@pytest.mark.parametrize("name", SOLVING.methods.replace(" or ", ", ").split(", "))
def test_what_is_advised_can_be_compressed(name):
    assert isinstance(last_exchange(Solve(compress="qsgd:8", method=name)), Compressed)


@pytest.mark.parametrize("compress, helps", [("powersgd:2", True), ("topk:0.1", True), ("randk:0.1,shared=yes", False)])
def test_a_divergence_is_told_with_what_might_help(compress, helps):
    job = complete(Train(model="resnet20", method="sgd", compress=compress))
    with pytest.raises(NumericalError, match="it has diverged") as found, advised(job):
        raise NumericalError("it has diverged")
    assert ("--error-feedback" in str(found.value)) == helps


def test_run_files_of_solves_say_how_messages_were_compressed(world):
    source = Synthetic(rows=9, cols=8, per_row=4.0)

    def said(**given):
        about = described(Solve(**given), source)
        return about["compress"], about["link"], compressing(about)

    assert said() == (None, None, None)
    assert said(method="dane", compress="qsgd:8") == ("qsgd:8", "plain", "qsgd:8")
    assert said(compress="topk:0.1", error_feedback=True) == ("topk:0.1", "ef", "topk:0.1 (ef)")
    assert said(method="diana") == ("randk:0.1", None, "randk:0.1")
    assert said(method="ef", set=(("compress", "topk:0.2"),)) == ("topk:0.2", None, "topk:0.2")
