"""Transfer logs: what a log says is kept to the last bit, the rest is drawn, and what is wrong is refused."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import CODECS, dirty_share
from sim.episode import Episode, draw_episode
from sim.errors import InputError
from sim.log_columns import COLUMNS, OUTCOMES
from sim.payloads import CLASS_NAMES
from sim.telemetry_file import TRANSFERS, write_transfers
from sim.transfer_log import read_transfer_log
from sim.world import World

PAGE = Path(__file__).parents[2] / "docs" / "telemetry.md"
WAN, HYBRID = SCENARIOS["wan"], SCENARIOS["hybrid"]
CODEC_LIST = list(CODECS.values())

FULL = """\
arrival_s,size_bytes,dataset,kind,path,priority,deadline_s,ratio,entropy,sample_ratio,repetition,changed
30,3e8,orders,db,far,2,90,4,0.5,3,0.1,0.2
10,1e8,orders,,near,1,inf,2,,,,
20,5e6,,text-log,1,3,,8,0.25,1,0,
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text: str, scenario=HYBRID, seed: int = 3) -> Episode:
        path = tmp_path / "office.csv"
        path.write_text(text)
        return read_transfer_log(path, scenario, seed)

    return from_text


def finished(episode: Episode) -> World:
    world = World(episode, CODEC_LIST)
    world.run(lambda question: question.request % len(CODEC_LIST))
    return world


def test_what_a_log_says_is_kept_in_order_of_arrival(read):
    episode = read(FULL)
    assert len(episode) == episode.scenario.requests == 3
    requests, payloads = episode.requests, episode.payloads
    assert requests.arrival_s.tolist() == [10, 20, 30]
    assert requests.size_bytes.tolist() == payloads.size_bytes.tolist() == [1e8, 5e6, 3e8]
    assert requests.dataset.tolist() == [0, 1, 0]
    assert [CLASS_NAMES[kind] for kind in payloads.kind] == ["db", "text-log", "db"]
    assert episode.path.tolist() == [0, 1, 1]
    assert requests.priority.tolist() == [1, 3, 2]
    assert episode.deadline_s.tolist() == [np.inf, np.inf, 90]
    assert payloads.ratio3.tolist() == [2, 8, 4]
    assert payloads.entropy[1:].tolist() == [0.25, 0.5]
    assert payloads.sample_ratio[1:].tolist() == [1, 3]
    assert payloads.repetition[1:].tolist() == [0, 0.1]
    assert (payloads.zero_share <= payloads.repetition).all()
    assert finished(episode).finished


def test_the_deadline_in_multiples_of_the_idle_time_agrees_with_the_logged_one(read):
    episode = read("arrival_s,size_bytes,path,deadline_s\n0,1e6,far,2\n100,1e6,far,\n")
    rtt_s = episode.conditions.links[:, 1, 1].min()
    idle_s = 1e6 / episode.nominal[1] + 4 * rtt_s
    assert episode.requests.deadline_slack.tolist() == pytest.approx([2 / idle_s, np.inf])


def test_what_a_log_leaves_open_is_drawn_as_the_scenario_draws_it(read):
    drawn = draw_episode(WAN.with_(requests=40), 5)
    rows = zip(drawn.requests.arrival_s.tolist(), drawn.requests.size_bytes.tolist(), strict=True)
    text = "arrival_s,size_bytes\n" + "".join(f"{at!r},{size!r}\n" for at, size in rows)
    episode = read(text, WAN, 5)
    assert episode.requests.priority.tolist() == drawn.requests.priority.tolist()
    assert episode.requests.deadline_slack.tolist() == drawn.requests.deadline_slack.tolist()
    assert episode.payloads.kind.tolist() == drawn.payloads.kind.tolist()
    assert (episode.conditions.links == drawn.conditions.links).all()
    pairs = set(zip(episode.requests.dataset.tolist(), drawn.requests.dataset.tolist(), strict=True))
    assert len(pairs) == len(set(drawn.requests.dataset.tolist())) == episode.requests.dataset.max() + 1


def test_the_same_log_and_seed_give_the_same_world_and_another_seed_another(read):
    text = "arrival_s,size_bytes\n" + "".join(f"{n},{1e7 + n}\n" for n in range(20))
    assert finished(read(text)).records == finished(read(text)).records
    assert finished(read(text)).records != finished(read(text, seed=4)).records


@pytest.mark.parametrize("name", ["wan", "hybrid", "dwcp-cross-region", "diurnal"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_transfers_that_we_wrote_come_back_as_the_same_requests(name, ending, tmp_path):
    scenario = SCENARIOS[name].with_(requests=30)
    world = finished(draw_episode(scenario, 11))
    write_transfers(world, tmp_path / f"transfers.{ending}")
    again = read_transfer_log(tmp_path / f"transfers.{ending}", scenario, 12)
    before = world.episode
    for field in ("arrival_s", "size_bytes", "priority"):
        assert getattr(again.requests, field).tolist() == getattr(before.requests, field).tolist()
    for field in ("path", "deadline_s"):
        assert getattr(again, field).tolist() == getattr(before, field).tolist()
    assert again.payloads.kind.tolist() == before.payloads.kind.tolist()
    same = [column[:, None] == column for column in (again.requests.dataset, before.requests.dataset)]
    assert (same[0] == same[1]).all()


def test_timestamps_set_time_0_and_the_hour_of_day(read):
    episode = read("timestamp,size_bytes,slack_s\n2026-03-01T14:31:30+01:00,1e6,60\n2026-03-01T13:30Z,1e6,\n")
    assert episode.requests.arrival_s.tolist() == [0, 90]
    assert episode.start_hour == 13.5
    assert episode.deadline_s.tolist() == [np.inf, 150]


def test_parquet_with_moments_and_numbers_reads_as_the_same_log_in_csv(read, tmp_path):
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(["2026-03-01 14:30:00.5", "2026-03-01 14:30:02.0"]),
            "size_bytes": [1_000_000, 2_000_000],
            "dataset": [7, 7],
            "entropy": [0.5, None],
        }
    )
    frame.to_parquet(tmp_path / "log.parquet")
    frame.to_csv(tmp_path / "log.csv", index=False)
    one, other = (read_transfer_log(tmp_path / f"log.{ending}", WAN, 1) for ending in ("parquet", "csv"))
    assert finished(one).records == finished(other).records
    assert one.requests.arrival_s.tolist() == [0, 1.5]
    assert one.payloads.entropy[0] == 0.5


def test_a_ratio_that_is_not_logged_is_the_geometric_mean_of_its_dataset(read):
    episode = read(
        "arrival_s,size_bytes,dataset,ratio\n0,1e6,a,2\n1,1e6,a,8\n2,1e6,a,\n3,1e6,b,\n4,1e6,b,0.9\n"
    )
    assert episode.payloads.ratio3.tolist() == pytest.approx([2, 8, 4, 1, 1])


def test_samples_follow_a_logged_ratio_with_the_error_that_was_drawn(read):
    text = "arrival_s,size_bytes,dataset,kind\n0,1e8,a,vm-ram\n1,1e8,b,db\n"
    drawn = read(text).payloads
    logged = read(
        text.replace("kind\n", "kind,ratio\n").replace("ram\n", "ram,2\n").replace("db\n", "db,5\n")
    ).payloads
    slack = [(1 - one.entropy) / (1 - 1 / one.ratio3) for one in (drawn, logged)]
    assert slack[1].tolist() == pytest.approx(slack[0].tolist())
    exponent = [np.log(one.sample_ratio) / np.log(one.ratio3) for one in (drawn, logged)]
    assert exponent[1].tolist() == pytest.approx(exponent[0].tolist())


def test_a_dataset_changes_as_fast_as_it_was_seen_to_change(read):
    content = read("arrival_s,size_bytes,dataset,kind,changed\n0,1e8,a,vm-ram,\n60,1e8,a,,0.1\n").content
    assert dirty_share(60.0, content.working_set[0], content.tau_s[0]) == pytest.approx(0.1)
    text = "arrival_s,size_bytes,dataset,kind,changed\n0,1e8,a,vm-disk,\n1,1e8,a,,0.9\n"
    fast = read(text).content
    assert fast.working_set[0] == 1
    assert dirty_share(1.0, 1.0, fast.tau_s[0]) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "office.csv: expected a header and rows, got an empty file"),
        ("arrival_s,size_bytes\n", "office.csv: expected at least one row, got none"),
        (
            "arrival_s\n1\n",
            "office.csv: expected the columns size_bytes and arrival_s (or timestamp), got arrival_s",
        ),
        ("size_bytes\n1\n", "office.csv: expected the columns size_bytes and arrival_s (or timestamp)"),
        ("arival_s,size_bytes\n1,1\n", "line 1: unknown column 'arival_s'; did you mean 'arrival_s'?"),
        (
            "arrival_s,size_bytes,x\n1,1,1\n",
            "line 1: unknown column 'x'; known: arrival_s, timestamp, size_bytes",
        ),
        ("arrival_s;size_bytes\n1;1\n", "line 1: unknown column 'arrival_s;size_bytes'"),
        (
            "arrival_s,size_bytes,size_bytes\n1,1,1\n",
            "line 1: column 'size_bytes' stands there twice; keep one",
        ),
        (
            "arrival_s,timestamp,size_bytes\n1,1,1\n",
            "one of the columns arrival_s and timestamp, got both; drop one",
        ),
        ("timestamp,deadline_s,size_bytes\n1,1,1\n", "one of the columns deadline_s and timestamp, got both"),
        (
            "arrival_s,size_bytes\n1,1\n\n2,3,4\n",
            "office.csv: line 4: expected 2 cells as in the header, got 3",
        ),
        ("arrival_s,size_bytes\n1,\n", "line 2: size_bytes must be a number from 1 to 1e+15, got ''"),
        ("arrival_s,size_bytes\n1,0\n", "line 2: size_bytes must be a number from 1 to 1e+15, got '0'"),
        ("arrival_s,size_bytes\n1,nan\n", "line 2: size_bytes must be a number from 1 to 1e+15, got 'nan'"),
        ("arrival_s,size_bytes\n1,1e99\n", "line 2: size_bytes must be a number from 1 to 1e+15, got '1e99'"),
        ("arrival_s,size_bytes\n-1,1\n", "line 2: arrival_s must be a number from 0 to 2.6784e+06, got '-1'"),
        (
            "arrival_s,size_bytes\n1.7e9,1\n",
            "got '1.7e9'; count from the start of the log, cut it at 31 days",
        ),
        (
            "arrival_s,size_bytes,entropy\n1,1,7.5\n",
            "entropy must be a number from 0 to 1, got '7.5'; write 1 %",
        ),
        (
            "arrival_s,size_bytes,ratio\n1,1,big\n",
            "line 2: ratio must be a number from 0.001 to 1e+06, got 'big'",
        ),
        ("arrival_s,size_bytes,priority\n1,1,0\n", "line 2: priority must be a number from 1e-09"),
        (
            "arrival_s,size_bytes,deadline_s\n5,1,5\n",
            "deadline_s must make a deadline after the arrival at 5 s, got '5'",
        ),
        (
            "arrival_s,size_bytes,slack_s\n5,1,0\n",
            "slack_s must make a deadline after the arrival at 5 s, got '0'",
        ),
        ("arrival_s,size_bytes,kind\n1,1,vmram\n", "got 'vmram'; did you mean 'vm-ram'?"),
        (
            "arrival_s,size_bytes,path\n1,1,fra\n",
            "path must be one of near, far or 0 to 1, got 'fra'; did you mean 'far'?",
        ),
        ("arrival_s,size_bytes,path\n1,1,2\n", "line 2: path must be one of near, far or 0 to 1, got '2'"),
        (
            "arrival_s,size_bytes,dataset,kind\n1,1,a,db\n2,1,a,heap\n",
            "line 3: dataset 'a' is of kind 'heap' here, but of kind 'db' in line 2; split it",
        ),
        (
            "timestamp,size_bytes\nyesterday,1\n",
            "line 2: timestamp must be a date and time as 2026-03-01T14:30:00",
        ),
        ("timestamp,size_bytes\n1772000000,1\n", "line 2: timestamp must be a date and time"),
        (
            "timestamp,size_bytes\n2026-03-01T14:30,1\n2026-03-01T14:30Z,1\n",
            "line 3: expected a time zone on every timestamp or on none, got '2026-03-01 14:30:00+00:00'",
        ),
        ("timestamp,size_bytes\n2026-03-01,1\n2026-05-01,1\n", "line 3: expected timestamps within 31 days"),
        ('arrival_s,size_bytes\n"1,1\n', "office.csv: line 2: not CSV: unexpected end of data"),
    ],
)
def test_a_wrong_log_is_refused_in_one_line_with_its_place(refused, text, message):
    said = refused(text)
    assert said.startswith("office.csv: ")
    assert message in said


def test_files_that_are_no_logs_are_refused_in_one_line(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"arrival_s\xff\n")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "log.txt").write_text("arrival_s,size_bytes\n")
    for name, message in {
        "none.csv": "none.csv: cannot be read: No such file or directory; name an existing file",
        "none.parquet": "none.parquet: cannot be read: No such file or directory; name an existing file",
        "binary.csv": "binary.csv: byte 9: expected UTF-8 text; is this CSV?",
        "torn.parquet": "torn.parquet: not Parquet: ",
        "log.txt": "log.txt: expected a name that ends in .csv or .parquet",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)) as caught:
            read_transfer_log(tmp_path / name, WAN, 1)
        assert "\n" not in str(caught.value)


def test_a_wrong_cell_of_parquet_is_refused_with_its_row(tmp_path):
    for cell in (True, "many", [1], None, -1):
        table = pa.table({"arrival_s": [0.0, 1.0], "size_bytes": pa.array([1, 1])})
        table = table.set_column(1, "size_bytes", pa.array([cell, cell]))
        pq.write_table(table, tmp_path / "log.parquet")
        with pytest.raises(InputError, match=r"log\.parquet: row 0: size_bytes must be a number"):
            read_transfer_log(tmp_path / "log.parquet", WAN, 1)


def test_the_page_prints_the_columns_that_a_log_may_have():
    section = PAGE.read_text("utf-8").split("## Your own log\n")[1]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{c.name}` | {c.unit} | {c.meaning} | {c.otherwise} |" for c in COLUMNS]
    passed_over = section.split("Its columns ")[1].split("say what came")[0]
    assert tuple(re.findall(r"`(\w+)`", passed_over)) == OUTCOMES
    assert {column.name for column in TRANSFERS} <= {*OUTCOMES, *(column.name for column in COLUMNS)}
