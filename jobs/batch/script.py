"""The text of a batch script: what Slurm is asked for, one srun line, and how a job goes back to the queue."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from mpiopt.jobs.batch.plan import VALUE, Plan
from mpiopt.jobs.cli.flags import flag
from mpiopt.jobs.running.checkpoints import AGAIN
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.jobs.batch.options import Slurm

WIDTH = 110


def script(job: "Slurm", plan: Plan) -> str:
    """The whole script."""
    parts = [_title(job, plan), "\n".join(_directives(job, plan)), _environment(job), _run(job, plan)]
    if plan.key:
        parts.insert(2, f"values=({' '.join(plan.values)})\nvalue=${{values[$SLURM_ARRAY_TASK_ID]}}")
    if plan.keeps:
        parts += [_queue(job, plan)]
    if plan.key and plan.out:
        parts += [_report(job, plan, plan.out)]
    return "\n\n".join([*parts, 'exit "$code"']) + "\n"


def _title(job: "Slurm", plan: Plan) -> str:
    command, each = plan.tokens[0], f", as an array of {len(plan.values)}" if plan.values else ""
    ranks = f"{counted(job.nodes, 'node')}, {counted(job.tasks_per_node, 'rank')} on each"
    return f"""#!/bin/bash
# mpiopt {command} on {ranks}{each}. Submit it from the folder where its files are:
#   sbatch FILE [MORE OPTIONS OF mpiopt {command}]
# Written by: mpiopt {shlex.join(argv(job))}"""


def argv(job: "Slurm") -> list[str]:
    """The command line that asks for this script."""
    found = ["slurm", *job.command]
    for field in fields(job):
        value = getattr(job, field.name)
        if field.name not in ("command", "out_script") and value != field.default:
            for one in value if isinstance(value, tuple) else [value]:
                found += [flag(field.name), str(one)]
    return found


def _directives(job: "Slurm", plan: Plan) -> Iterator[str]:
    yield f"#SBATCH --job-name={job.job_name or plan.tokens[0]}"
    yield f"#SBATCH --nodes={job.nodes}"
    yield f"#SBATCH --ntasks-per-node={job.tasks_per_node}"
    yield f"#SBATCH --cpus-per-task={job.cpus_per_task}"
    if plan.gpus:
        yield f"#SBATCH --gpus-per-task={plan.gpus}"
    yield f"#SBATCH --time={job.time}"
    more = [f"{name}={value}" for name in ("partition", "account") if (value := getattr(job, name))] + list(job.sbatch)
    for name, equals, value in (option.partition("=") for option in more):
        yield f"#SBATCH --{name}{equals}{shlex.quote(value) if equals else ''}"
    if not more:
        yield "# The site may want more of these: --partition, --account, --mem."
    if plan.key:
        yield f"#SBATCH --array=0-{len(plan.values) - 1}"
    yield "# One file for all attempts."
    yield f"#SBATCH --output=%x-{'%A_%a' if plan.key else '%j'}.out"
    yield "#SBATCH --open-mode=append"
    if plan.keeps or plan.out is None:
        yield "# When a node fails, Slurm may queue it again."
        yield "#SBATCH --requeue"
    else:
        yield "# There is no checkpoint to go on from, and the run file would be in the way."
        yield "#SBATCH --no-requeue"
    if plan.stops:
        yield f"# Every rank is sent SIG{job.signal} so many seconds before the time is up; Slurm may be a minute early."
        yield f"#SBATCH --signal={job.signal}@{job.signal_margin}"


def _environment(job: "Slurm") -> str:
    if job.env is not None:
        name = shlex.quote(str(job.env))
        source = f"""# Modules and the virtual environment.
# shellcheck disable=SC1090,SC1091
. {name if "/" in name else f"./{name}"} || exit"""
    else:
        source = """# Modules and the virtual environment, if they are in a file; else what sbatch was called with.
for file in env.sh slurm/env.sh; do
  # shellcheck disable=SC1090
  if [[ -f $file ]]; then . "./$file"; break; fi
done"""
    return f"""{source}
if ! command -v mpiopt >/dev/null; then
  echo "there is no mpiopt on PATH on $(hostname): name its virtual environment in env.sh" >&2
  exit 127
fi
# As many threads as cores; srun takes the count from sbatch only through the second one.
export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-1}}" SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-1}}\""""


def _run(job: "Slurm", plan: Plan) -> str:
    mpi = [f"--mpi={job.mpi}"] if job.mpi else []
    gpus = [f"--gpus-per-task={plan.gpus}"] if plan.gpus else []
    deaf = ['bash -c \'trap "" USR1 USR2; exec "$@"\' rank'] if plan.stops else []
    words = ["srun", *mpi, *gpus, "--kill-on-bad-exit=0", "--wait=10", *deaf, "mpiopt", *map(_word, plan.tokens), '"$@"']
    why = """# Where a rank is killed, srun ends the others 10 seconds later; not at once, for ranks that end with an exit code
# of their own do so one after the other."""
    if not plan.stops:
        return f"{why}\n{_lines(words)}\ncode=$?"
    return f"""{why}
# A signal would kill a rank that does not listen for it yet, or any more: bash has it ignored for that time.
{_lines(words)} &
step=$!
# A signal to this shell goes to the ranks too; srun would not survive SIGTERM. It also ends wait, which then starts again.
trap 'told=1; kill -s {job.signal} "$step"' USR1 USR2 TERM
until told=0; wait "$step"; code=$?; ((told == 0)); do :; done"""


def _queue(job: "Slurm", plan: Plan) -> str:
    task = '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' if plan.key else "$SLURM_JOB_ID"
    return f"""# {AGAIN}, and nothing else: stopped with a checkpoint. Back to the queue, and on from there; but a job that does
# not run any more is being cancelled, preempted or queued again by somebody else.
job={task} attempt=$((${{SLURM_RESTART_COUNT:-0}} + 1)) requeues={job.requeues}
if ((code == {AGAIN})); then
  if [[ $(squeue --noheader --jobs="$job" --format=%T) != RUNNING ]]; then
    echo "attempt $attempt has stopped with its job: where that does not come back by itself, submit it again to go on"
    exit {AGAIN}
  elif ((attempt <= requeues)); then
    echo "attempt $attempt has stopped, and queues the job again"
    scontrol requeue "$job" && exit {AGAIN}
  fi
  echo "attempt $attempt is not followed by another: submit the job again to go on"
fi"""


def _report(job: "Slurm", plan: Plan, out: str) -> str:
    name = job.job_name or plan.tokens[0]
    run = _word(out).replace("$value", "${values[${end##*/}]}")
    return f"""# Every task leaves its exit code; the one that finds all of them, and gets to rename their folder, reports.
ends={name}-$SLURM_ARRAY_JOB_ID.ends report={name}-$SLURM_ARRAY_JOB_ID.report.txt runs=()
mkdir -p "$ends" && echo "$code" >"$ends/$SLURM_ARRAY_TASK_ID"
for end in "$ends"/*; do runs+=({run}); done
if ((${{#runs[@]}} == ${{SLURM_ARRAY_TASK_COUNT:-${{#values[@]}}}})) && mv -T "$ends" "$ends.all" 2>/dev/null; then
  rm -r "$ends.all"
  mpiopt slurm report "${{runs[@]}}" | tee "$report"
fi"""


def _word(token: str) -> str:
    """A token in shell's own quotes; an array's value stays open."""
    if VALUE not in token:
        return shlex.quote(token)
    return '"' + re.sub(r'([$`"\\])', r"\\\1", token).replace(VALUE, "$value") + '"'


def _lines(words: Sequence[str]) -> str:
    """Words in lines of bearable length, an option's value on the line of the option."""
    lines = [""]
    for word, after in zip(words, [*words[1:], ""], strict=True):
        together = len(word) + (len(after) + 1) * (word.startswith("--") and not after.startswith(("-", '"$@')))
        if lines[-1] and len(lines[-1]) + together > WIDTH - 4:
            lines.append("  ")
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    return " \\\n".join(lines)
