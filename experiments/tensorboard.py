"""TensorBoard runs in which every policy, learner or not, writes the same tags, so that they overlay.

The events are written straight to a file of a fixed name, under a fixed clock: the same results give the same
bytes. Torch's ``SummaryWriter`` puts the time of day into the name of its file and into the first event.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

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
HPARAM_METRICS: Final = (
    "test/cost_relative",
    "test/regret_to_oracle",
    "test/goodput_mbps",
    "eval/cost_relative",
)

Setting = str | int | float | bool


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
    """
    episodes, curves = evidence.episodes, evidence.curves
    last_step = int(curves["step"].max()) if len(curves) else 1
    hparam_names = sorted({name for own in settings.values() for name in own})
    runs = {
        (str(rows["policy"].iloc[0]), int(rows["training_seed"].iloc[0])): rows
        for _, rows in episodes.groupby(["policy", "training_seed"])
    }
    folders = []
    for (policy, seed), rows in runs.items():
        name = run_name(policy, seed)
        identity: dict[str, Setting] = {"policy": policy, "kind": str(rows["kind"].iloc[0]), "seed": seed}
        of_policy = curves[curves["policy"] == policy]
        curve = of_policy[of_policy["training_seed"] == seed]
        values = _final_values(rows, episodes)
        if len(curve):
            values = {tag: value for tag, value in values.items() if tag not in CURVE_TAGS.values()}
        events = [
            _event(0, [_layout(), _text("config", f"```yaml\n{config}\n```")]),
            _event(0, _hparams(name, {**identity, **settings.get(policy, {})}, [*identity, *hparam_names])),
            *_curve_events(curve),
            *([] if len(curve) else [_event(0, _scalars(values))]),
            _event(last_step, _scalars(values)),
        ]
        if len(curve) and seed == of_policy["training_seed"].min():
            events += _band_events(of_policy)
        folders.append(_write(folder / name, events))
    if figures:
        folders.append(_write(folder / "report", [_event(0, [_image(path) for path in figures])]))
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
        oracle = {str(scenario): "one_step_oracle" for scenario in rows["scenario"].unique()}
        values[f"{group}/cost_relative"] = cost_relative(rows, same_split, statics)
        values[f"{group}/regret_to_oracle"] = cost_relative(rows, same_split, oracle) - 1.0
        values[f"{group}/goodput_mbps"] = float(rows["goodput_mbps"].mean())
        values[f"{group}/agreement"] = float(rows["agreement"].mean())
        for scenario, its_rows in rows.groupby("scenario"):
            values[f"{group}/{scenario}/cost_s"] = float(its_rows["cost_s"].mean())
            values[f"{group}/{scenario}/cost_relative"] = cost_relative(its_rows, same_split, statics)
    return {tag: value for tag, value in values.items() if value == value}


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


def _image(path: Path) -> Summary.Value:
    png = path.read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
    return Summary.Value(tag=f"report/{path.stem}", image=image)


def _layout() -> Summary.Value:
    """Custom Scalars: the learners with the band of their seeds, then all policies, a chart a question."""
    band = layout_pb2.MarginChartContent.Series(
        value="seeds/cost_relative", lower="seeds/cost_relative_low", upper="seeds/cost_relative_high"
    )
    charts = [
        layout_pb2.Chart(
            title="validation cost of the learners, best static = 1 (band: all seeds)",
            margin=layout_pb2.MarginChartContent(series=[band]),
        )
    ]
    for title, regex in (
        ("validation cost of every policy, best static = 1", r"^eval/cost_relative$"),
        ("validation regret to the one-step oracle, share of its cost", r"^eval/regret_to_oracle$"),
        ("test cost by scenario, best static = 1", r"^test/[^/]+/cost_relative$"),
        ("test goodput, Mbit/s", r"^test/goodput_mbps$"),
    ):
        charts.append(layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[regex])))
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="policies compared", chart=charts)])
    tensor = TensorProto(
        dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto()
    )
    return Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=custom_scalar.create_summary_metadata()
    )


def _hparams(name: str, settings: Mapping[str, Setting], columns: Sequence[str]) -> list[Summary.Value]:
    """The experiment, the start and the end of one session: what the HParams table is made of."""
    experiment = summary_v2.hparams_config_pb(
        hparams=[summary_v2.HParam(key) for key in columns],
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
