"""Work on many processes: order, errors, and that nobody stays behind."""

import io
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from experiments.work import Crew
from sim.errors import InputError
from sim.yaml_file import read_yaml

ROOT = Path(__file__).parents[2]
SLEEPERS = """
import sys, time
from rich.console import Console
from experiments.work import Crew

if __name__ == "__main__":
    task = f"(open('{sys.argv[1]}/' + str(__import__('os').getpid()), 'w'), __import__('time').sleep(60))"
    try:
        with Crew(2, Console(quiet=True)) as crew:
            crew.map("sleep", eval, [task] * 5)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture(scope="module")
def crew():
    with Crew(2, Console(file=io.StringIO())) as crew:
        yield crew


def later(seconds: float, value: int) -> str:
    """A task for ``eval``: a value after some time."""
    return f"__import__('time').sleep({seconds}) or {value}"


def test_results_come_in_the_order_of_the_tasks_whichever_is_done_first(crew):
    assert crew.map("order", eval, [later(0.4, 0), later(0, 1), later(0.2, 2), later(0, 3)]) == [0, 1, 2, 3]


def test_no_tasks_have_no_results(crew):
    assert crew.map("nothing", eval, []) == []


def test_the_error_of_a_task_comes_out_as_it_was_raised(crew):
    with pytest.raises(ValueError, match="math domain error"):
        crew.map("roots", math.sqrt, [4.0, -1.0, 9.0])
    assert crew.map("roots", math.sqrt, [4.0, 9.0]) == [2.0, 3.0]


def test_an_input_error_comes_whole_out_of_a_worker(crew, tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read") as refused:
        crew.map("read", read_yaml, [tmp_path / "absent.yaml"])
    with pytest.raises(InputError) as here:
        read_yaml(tmp_path / "absent.yaml")
    assert str(refused.value) == str(here.value)


def test_the_first_error_does_not_wait_for_what_was_not_begun(crew):
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        crew.map("fail", eval, ["1/0", *[later(1.0, 0)] * 20])
    assert time.monotonic() - started < 8


def test_the_bar_counts_what_the_tasks_report(crew):
    tasks = ["__import__('experiments.work').work.report(7)"] * 3
    seen = io.StringIO()
    crew._console, before = Console(file=seen, width=120), crew._console
    crew.map("steps", eval, tasks, units=21)
    crew._console = before
    assert "21/21" in seen.getvalue()


def test_workers_use_one_thread_and_leave_ctrl_c_to_the_parent(crew):
    assert crew.map("threads", eval, ["__import__('torch').get_num_threads()"]) == [1]
    ignored = "__import__('signal').getsignal(2) == __import__('signal').SIG_IGN"
    assert crew.map("signals", eval, [ignored]) == [True]


def test_one_worker_or_three_bring_the_same_results(crew):
    tasks = [f"__import__('sim.randomness').randomness.stream({n}, 'x').random(3).tolist()" for n in range(9)]
    with Crew(3, Console(quiet=True)) as three:
        assert three.map("draw", eval, tasks) == crew.map("draw", eval, tasks)


def test_a_worker_that_is_killed_is_one_line_with_a_way_out():
    ended = r"one was ended from outside.*set fewer workers"
    with Crew(1, Console(quiet=True)) as crew, pytest.raises(InputError, match=ended) as refused:
        crew.map("training", eval, ["__import__('os').kill(__import__('os').getpid(), 9)"])
    assert "\n" not in str(refused.value)


def _alive(pids: list[int]) -> list[int]:
    """Those that run, zombies left out."""
    alive = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            continue
        alive += [] if state == "Z" else [pid]
    return alive


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux which processes there are")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_no_worker_outlives_its_parent(tmp_path, ending):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPERS, str(tmp_path)],
        cwd=ROOT,
        start_new_session=True,
        # A test run in the background inherits that Ctrl-C is ignored; a terminal's does not.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        stderr=subprocess.PIPE,
    )
    give_up = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < give_up:
        time.sleep(0.05)
    workers = [int(one.name) for one in tmp_path.iterdir()]
    assert len(workers) == 2 == len(_alive(workers))
    if ending == signal.SIGINT:
        os.killpg(process.pid, ending)  # as a terminal does: all processes of the group
    else:
        process.kill()
    _, complaints = process.communicate(timeout=20)
    assert process.returncode == (130 if ending == signal.SIGINT else -signal.SIGKILL)
    give_up = time.monotonic() + 10
    while _alive(workers) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert _alive(workers) == []
    assert b"Traceback" not in complaints
