"""TensorBoard runs in which every policy, learner or not, writes the same tags, so that they overlay.

The events are written straight to a file of a fixed name, under a fixed clock: the same results give the same
bytes. Torch's ``SummaryWriter`` puts the time of day into the name of its file and into the first event.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.record_writer import RecordWriter

from experiments.evidence import Evidence, best_statics, cost_relative
from sim.files import write_whole

EVENT_FILE: Final = "events.out.tfevents.0000000000.dwcp-gym"
"""Sorts before the events that a learner writes while it trains, so that TensorBoard reads both."""
CLOCK_START: Final = 946684800.0
"""2000-01-01T00:00Z, in seconds: event times count steps from here and do not say when a run was made."""
SPLIT_GROUPS: Final = {"validation": "eval", "test": "test", "held-out": "held-out"}
CURVE_TAGS: Final = {"validation_cost": "eval/cost_relative", "train_reward": "train/reward"}
ORACLE, PLANNER, BOUND = "one_step_oracle", "best_found", "bound"
HPARAM_METRICS: Final = (
    "test/cost_relative",
    "test/gap_closed",
    "test/gap_to_planner",
    "test/regret_to_oracle",
    "test/goodput_mbps",
    "eval/cost_relative",
)

ORACLE_TAG: Final = "eval/gap_to_oracle"
"""By how much, as a share, a policy's validation cost lies above the one-step oracle's: also as a curve."""

_IDENTITY: Final = 3
"""What tells a run from others: policy, kind and seed."""
_FEW: Final = 24
"""Values of a hyper-parameter that are listed to be ticked."""

Setting = str | int | float | bool
Timelines = Mapping[tuple[str, int], Mapping[str, bytes]]
"""PNG files by policy and training seed, then by scenario."""


def run_name(policy: str, training_seed: int) -> str:
    """Folder of one run below the TensorBoard folder.

    >>> run_name("ppo", 3), run_name("zstd", -1)
    ('ppo/seed3', 'zstd')
    """
    return policy if training_seed < 0 else f"{policy}/seed{training_seed}"


def write_tensorboard(
    folder: Path,
    evidence: Evidence,
    *,
    settings: Mapping[str, Mapping[str, Setting]],
    config: str,
    figures: Sequence[Path] = (),
    timelines: Timelines | None = None,
) -> list[Path]:
    """Write one run for every policy and training seed, and return their folders.

    A learner's validation curve comes by step; a policy that does not learn writes its one figure at step 0
    and at the last step of the longest curve, which draws it as a level line. The group of a tag says which
    episodes stand behind it: ``eval`` validation, ``test``, ``held-out``. Costs relative to the best static
    policy are 1 at par.

    Args:
        folder: TensorBoard's ``--logdir``; event files of other names in it are left alone.
        evidence: Frames of the run; a column of the curves with a slash in its name is written under that
            name.
        settings: Hyper-parameters of each policy that has any, for the HParams table.
        config: The resolved experiment config, shown as text in every run.
        figures: PNG files, shown as images in the run ``report``.
        timelines: Of policies by name and training seed, one episode a scenario, the same for all: shown as
            images under one tag a scenario.
    """
    episodes, curves = evidence.episodes, evidence.curves
    last_step = int(curves["step"].max()) if len(curves) else 1
    runs = {
        (str(rows["policy"].iloc[0]), int(rows["training_seed"].iloc[0])): rows
        for _, rows in episodes.groupby(["policy", "training_seed"])
    }
    oracle = _oracle_level(episodes)
    identities: dict[tuple[str, int], dict[str, Setting]] = {
        key: {"policy": key[0], "kind": str(rows["kind"].iloc[0]), "seed": key[1], **settings.get(key[0], {})}
        for key, rows in runs.items()
    }
    columns = _columns(list(identities.values()))
    folders = []
    for (policy, seed), rows in runs.items():
        name = run_name(policy, seed)
        of_policy = curves[curves["policy"] == policy]
        curve = of_policy[of_policy["training_seed"] == seed]
        values = _final_values(rows, episodes)
        if "eval/cost_relative" in values and oracle == oracle:
            values[ORACLE_TAG] = values["eval/cost_relative"] / oracle - 1.0
            curve = curve.assign(**{ORACLE_TAG: curve["validation_cost"] / oracle - 1.0})
        pictures = (timelines or {}).get((policy, seed), {})
        if len(curve):
            values = {
                tag: value for tag, value in values.items() if tag not in (*CURVE_TAGS.values(), ORACLE_TAG)
            }
        events = [
            _event(0, [_layout(), _text("config", f"```yaml\n{config}\n```")]),
            _event(0, _hparams(name, identities[policy, seed], columns)),
            *_curve_events(curve),
            *([] if len(curve) else [_event(0, _scalars(values))]),
            _event(last_step, _scalars(values)),
            *([_event(last_step, _pictures(pictures))] if pictures else []),
        ]
        if len(curve) and seed == of_policy["training_seed"].min():
            events += _band_events(of_policy)
        folders.append(_write(folder / name, events))
    if figures:
        images = [_image(f"report/{path.stem}", path.read_bytes()) for path in figures]
        folders.append(_write(folder / "report", [_event(0, images)]))
    return folders


def _final_values(run: pd.DataFrame, episodes: pd.DataFrame) -> dict[str, float]:
    """Figures of one run by tag; a cost is compared on the episodes that both policies have."""
    values: dict[str, float] = {}
    statics = {scenario: name for scenario, (name, _) in best_statics(episodes).items()}
    for split, group in SPLIT_GROUPS.items():
        rows = run[run["split"] == split]
        same_split = episodes[episodes["split"] == split]
        if rows.empty:
            continue
        oracle = dict.fromkeys(map(str, rows["scenario"].unique()), ORACLE)
        values[f"{group}/cost_relative"] = cost_relative(rows, same_split, statics)
        values[f"{group}/regret_to_oracle"] = cost_relative(rows, same_split, oracle) - 1.0
        values |= {f"{group}/{name}": value for name, value in _gaps(rows, same_split, statics).items()}
        values[f"{group}/goodput_mbps"] = float(rows["goodput_mbps"].mean())
        values[f"{group}/agreement"] = float(rows["agreement"].mean())
        for scenario, its_rows in rows.groupby("scenario"):
            values[f"{group}/{scenario}/cost_s"] = float(its_rows["cost_s"].mean())
            values[f"{group}/{scenario}/cost_relative"] = cost_relative(its_rows, same_split, statics)
    return {tag: value for tag, value in values.items() if value == value}


def _gaps(run: pd.DataFrame, others: pd.DataFrame, statics: Mapping[str, str]) -> dict[str, float]:
    """How far above planner and bound, and the share of the gap to the planner that is closed.

    Each is the mean over the scenarios that were searched, on the searched episodes; the gap is from the best
    static policy to the planner.
    """
    values = {}
    for name, reference in (("gap_to_planner", PLANNER), ("gap_to_bound", BOUND)):
        known = others[others["policy"] == reference]
        rows = run[run["scenario"].isin(known["scenario"])]
        same = dict.fromkeys(map(str, rows["scenario"].unique()), reference)
        values[name] = cost_relative(rows, known, same) - 1.0
    shares = []
    for scenario, found in others[others["policy"] == PLANNER].groupby("scenario"):
        beside = others[(others["scenario"] == scenario) & others["episode"].isin(found["episode"])]
        static = beside.loc[beside["policy"] == statics.get(str(scenario)), "cost_s"].mean()
        mine = run[(run["scenario"] == scenario) & run["episode"].isin(found["episode"])]["cost_s"].mean()
        gap = static - found["cost_s"].mean()
        shares.append((static - mine) / gap if gap > 0 else np.nan)
    if shares and not np.isnan(shares).all():
        values["gap_closed"] = float(np.nanmean(shares))
    return values


def _oracle_level(episodes: pd.DataFrame) -> float:
    """Validation cost of the one-step oracle as a share of the best static policy's; NaN without it."""
    statics = {scenario: name for scenario, (name, _) in best_statics(episodes).items()}
    rows = episodes[episodes["split"] == "validation"]
    return cost_relative(rows[rows["policy"] == ORACLE], rows, statics)


def _curve_events(curve: pd.DataFrame) -> list[Event]:
    columns = {
        name: CURVE_TAGS.get(name, name) for name in map(str, curve) if name in CURVE_TAGS or "/" in name
    }
    return [
        _event(int(row["step"]), _scalars({tag: float(row[name]) for name, tag in columns.items()}))
        for row in curve.sort_values("step").to_dict("records")
    ]


def _band_events(curves: pd.DataFrame) -> list[Event]:
    """Mean, lowest and highest validation cost over the seeds of one learner, by step."""
    band = curves.groupby("step")["validation_cost"].agg(["mean", "min", "max"])
    names = {
        "mean": "seeds/cost_relative",
        "min": "seeds/cost_relative_low",
        "max": "seeds/cost_relative_high",
    }
    return [
        _event(int(str(step)), _scalars({names[key]: float(row[key]) for key in names}))
        for step, row in band.iterrows()
    ]


def _event(step: int, values: Iterable[Summary.Value]) -> Event:
    return Event(step=step, wall_time=CLOCK_START + step, summary=Summary(value=list(values)))


def _scalars(tags: Mapping[str, float]) -> list[Summary.Value]:
    return [Summary.Value(tag=tag, simple_value=value) for tag, value in tags.items() if value == value]


def _text(tag: str, markdown: str) -> Summary.Value:
    tensor = TensorProto(
        dtype="DT_STRING",
        string_val=[markdown.encode()],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
    )
    return Summary.Value(
        tag=f"{tag}/text_summary", tensor=tensor, metadata=text.create_summary_metadata("", "")
    )


def _pictures(timelines: Mapping[str, bytes]) -> list[Summary.Value]:
    return [_image(f"timeline/{scenario}", png) for scenario, png in timelines.items()]


def _image(tag: str, png: bytes) -> Summary.Value:
    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
    return Summary.Value(tag=tag, image=image)


def _layout() -> Summary.Value:
    """Custom Scalars: the learners with the band of their seeds, then all policies, a chart a question."""
    band = layout_pb2.MarginChartContent.Series(
        value="seeds/cost_relative", lower="seeds/cost_relative_low", upper="seeds/cost_relative_high"
    )
    learners = [
        layout_pb2.Chart(
            title="validation cost of the learners, best static = 1 (band: all seeds)",
            margin=layout_pb2.MarginChartContent(series=[band]),
        ),
        _lines("validation cost of every policy, best static = 1", r"^eval/cost_relative$"),
        _lines("validation cost above the one-step oracle's, share", r"^eval/gap_to_oracle$"),
    ]
    compared = [
        _lines("test cost by scenario, best static = 1", r"^test/[^/]+/cost_relative$"),
        _lines("held-out cost by scenario, best static = 1", r"^held-out/[^/]+/cost_relative$"),
        _lines("test goodput, Mbit/s", r"^test/goodput_mbps$"),
    ]
    gaps = [
        _lines("share of the gap to the planner that is closed, test", r"^test/gap_closed$"),
        _lines("test cost above the planner's, share", r"^test/gap_to_planner$"),
        _lines("test cost above the bound, share", r"^test/gap_to_bound$"),
        _lines("test cost above the one-step oracle's, share", r"^test/regret_to_oracle$"),
    ]
    groups = {"learning": learners, "policies compared": compared, "what is left to win": gaps}
    layout = layout_pb2.Layout(
        category=[layout_pb2.Category(title=title, chart=charts) for title, charts in groups.items()]
    )
    tensor = TensorProto(
        dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto()
    )
    return Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=custom_scalar.create_summary_metadata()
    )


def _lines(title: str, regex: str) -> layout_pb2.Chart:
    """A chart of all tags that fit, a line a run."""
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[regex]))


def _columns(identities: Sequence[Mapping[str, Setting]]) -> list[summary_v2.HParam]:
    """Hyper-parameters of all runs, its identity first; one of few values can be filtered by them."""
    first = list(identities[0])[:_IDENTITY]
    names = [*first, *sorted({name for own in identities for name in own} - set(first))]
    columns = []
    for name in names:
        values = {own[name] for own in identities if name in own}
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            values = {float(value) for value in values}
        alike = len({type(value) for value in values}) == 1 and len(values) <= _FEW
        columns.append(summary_v2.HParam(name, summary_v2.Discrete(values) if alike else None))
    return columns


def _hparams(
    name: str, settings: Mapping[str, Setting], columns: Sequence[summary_v2.HParam]
) -> list[Summary.Value]:
    """The experiment, the start and the end of one session: what the HParams table is made of."""
    experiment = summary_v2.hparams_config_pb(
        hparams=list(columns),
        metrics=[summary_v2.Metric(tag) for tag in HPARAM_METRICS],
        time_created_secs=CLOCK_START,
    )
    start = summary_v2.hparams_pb(dict(settings), trial_id=name, start_time_secs=CLOCK_START)
    end = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS, end_time_secs=CLOCK_START
        )
    )
    finished = Summary.Value(
        tag=hparams.SESSION_END_INFO_TAG,
        metadata=hparams.create_summary_metadata(end),
        tensor=hparams.NULL_TENSOR,
    )
    return [*experiment.value, *start.value, finished]


def _write(folder: Path, events: Sequence[Event]) -> Path:
    first = Event(wall_time=CLOCK_START, file_version="brain.Event:2")

    def fill(stream: BinaryIO) -> None:
        records = RecordWriter(stream)
        for event in (first, *events):
            records.write(event.SerializeToString())

    write_whole(folder / EVENT_FILE, fill)
    return folder
