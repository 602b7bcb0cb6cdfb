"""mpiopt reproduce --all-sources: every system with a command that there is."""

from mpiopt.jobs.cli.commands import COMMANDS, parse
from mpiopt.jobs.cli.console import WIDTH, Console
from mpiopt.jobs.reproduce import Reproduce, run
from mpiopt.jobs.studies import listing
from mpiopt.jobs.studies.apparatus.sources import SOURCES, facts_of_sources
from mpiopt.methods import catalogue, training


def test_every_system_has_a_command_that_there_is_and_every_study_its_place(capsys):
    assert run(Reproduce(all_sources=True), None, Console()) == facts_of_sources()
    assert max(map(len, capsys.readouterr().out.splitlines())) <= WIDTH
    reproduced = set()
    for one in (one for shown in SOURCES.values() for one in shown):
        program, command, *rest = one.command.split()
        job = parse([command, *rest]).job  # its options are right
        assert program == "mpiopt" and command in COMMANDS and one.found and one.claim
        if command == "reproduce":
            reproduced.add(job.name)
        else:
            assert job.method in (catalogue() | training())
    assert reproduced <= set(listing())
    assert not {name for name in listing() if not name.startswith("spag-")} - reproduced - {"loss-vs-bytes"}  # which is ours
