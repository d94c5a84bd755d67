"""TensorBoard runs, read back with TensorBoard's own reader."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from experiments.evidence import Evidence
from experiments.look import page, save
from experiments.tensorboard import EVENT_FILE, write_tensorboard


@pytest.fixture
def runs(evidence: Evidence, tmp_path: Path) -> Path:
    image = save(page(2, "A question?", "A note.")[0], tmp_path / "figures" / "headroom.png")
    folder = tmp_path / "tensorboard"
    shown = {("zstd", -1): {"wan": image.read_bytes()}, ("ppo", 0): {"wan": image.read_bytes()}}
    write_tensorboard(
        folder,
        evidence,
        settings={"ppo": {"rate": 3e-4}},
        config="seed: 0",
        figures=[image],
        timelines=shown,
    )
    return folder


def read(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run))
    events.Reload()
    return events


def points(run: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value, rel=1e-6)) for event in read(run).Scalars(tag)]


def plugin(run: Path, tag: str) -> bytes:
    return read(run).SummaryMetadata(tag).plugin_data.content


def test_there_is_one_run_for_each_policy_and_training_seed(runs):
    found = {path.parent.relative_to(runs).as_posix() for path in runs.rglob(EVENT_FILE)}
    policies = {"zstd", "hde", "ensemble", "one_step_oracle", "best_found", "ppo/seed0", "ppo/seed1"}
    assert found == policies | {"report"}


def test_a_learner_and_a_rule_overlay_on_the_same_tag(runs):
    assert points(runs / "ppo/seed0", "eval/cost_relative") == [(0, 0.8), (100, 0.7)]
    assert points(runs / "one_step_oracle", "eval/cost_relative") == [(0, 0.9), (100, 0.9)]
    assert points(runs / "ppo/seed1", "train/reward") == [(0, -1.0), (100, -1.0)]


def test_final_figures_bear_the_same_tags_for_every_policy(runs):
    groups = [set(read(runs / name).Tags()["scalars"]) for name in ("zstd", "one_step_oracle", "ensemble")]
    assert groups[0] == groups[1] == groups[2]
    assert {"eval/wan/cost_s", "eval/goodput_mbps", "eval/regret_to_oracle", "test/cost_relative"} <= groups[
        0
    ]
    assert groups[0] <= set(read(runs / "ppo/seed0").Tags()["scalars"])


def test_figures_on_test_episodes_are_the_factors_by_hand(runs):
    assert points(runs / "ppo/seed0", "test/wan/cost_relative") == [(100, 0.69)]
    assert points(runs / "ppo/seed0", "test/regret_to_oracle") == [(100, (0.69 / 0.8 + 1.09 / 1.0) / 2 - 1)]
    assert points(runs / "best_found", "test/wan/cost_relative") == [(0, 0.5), (100, 0.5)]
    assert points(runs / "zstd", "eval/wan/cost_s") == [(0, 115.0), (100, 115.0)]


def test_the_band_of_all_seeds_stands_in_the_first_run_of_a_learner(runs):
    assert points(runs / "ppo/seed0", "seeds/cost_relative") == [(0, 0.9), (100, 0.8)]
    assert points(runs / "ppo/seed0", "seeds/cost_relative_low") == [(0, 0.8), (100, 0.7)]
    assert points(runs / "ppo/seed0", "seeds/cost_relative_high") == [(0, 1.0), (100, 0.9)]
    assert "seeds/cost_relative" not in read(runs / "ppo/seed1").Tags()["scalars"]


def test_the_gap_to_the_oracle_is_a_curve_of_learners_and_a_level_of_all_others(runs):
    # On validation the oracle costs (0.8 + 1.0) / 2 of the best static policies.
    gaps = [(0, 0.8 / 0.9 - 1), (100, 0.7 / 0.9 - 1)]
    assert points(runs / "ppo/seed0", "eval/gap_to_oracle") == gaps
    assert points(runs / "ensemble", "eval/gap_to_oracle") == [(0, 0.95 / 0.9 - 1), (100, 0.95 / 0.9 - 1)]


def test_gaps_to_the_planner_are_those_of_the_searched_episodes_by_hand(runs):
    # Best static policies: zstd on wan (1.0 against 0.5 found), hde on lan (1.0 against 0.98).
    closed = ((1.0 - 0.69) / (1.0 - 0.5) + (1.0 - 1.09) / (1.0 - 0.98)) / 2
    assert points(runs / "ppo/seed0", "test/gap_closed") == [(100, closed)]
    assert points(runs / "ppo/seed0", "test/gap_to_planner") == [(100, (0.69 / 0.5 + 1.09 / 0.98) / 2 - 1)]
    assert points(runs / "best_found", "test/gap_closed") == [(0, 1.0), (100, 1.0)]


def test_episodes_stand_as_images_under_one_tag_a_scenario_in_every_run_that_has_them(runs):
    for name in ("zstd", "ppo/seed0"):
        (image,) = read(runs / name).Images("timeline/wan")
        assert (image.width, image.height) == (1170, 260)
    assert read(runs / "ppo/seed1").Tags()["images"] == []


def test_hyper_parameters_and_their_metrics_stand_in_the_run_itself(runs):
    message = plugin_data_pb2.HParamsPluginData.FromString(
        plugin(runs / "ppo/seed1", "_hparams_/session_start_info")
    )
    settings = message.session_start_info.hparams
    assert settings["rate"].number_value == 3e-4
    assert settings["policy"].string_value == "ppo" and settings["seed"].number_value == 1
    message = plugin_data_pb2.HParamsPluginData.FromString(plugin(runs / "ppo/seed1", "_hparams_/experiment"))
    ticked = {info.name: list(info.domain_discrete.values) for info in message.experiment.hparam_infos}
    assert [value.string_value for value in ticked["kind"]] == [
        "learner",
        "oracle",
        "search",
        "static",
        "supervised",
    ]
    assert [value.number_value for value in ticked["seed"]] == [-1.0, 0.0, 1.0]
    metrics = {info.name.tag for info in message.experiment.metric_infos}
    assert metrics <= set(read(runs / "ppo/seed1").Tags()["scalars"])


def test_custom_scalars_are_laid_out_as_a_band_and_as_many_lines(runs):
    (event,) = read(runs / "zstd").Tensors("custom_scalars__config__")
    learning, compared, left = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0]).category
    assert learning.chart[0].margin.series[0].lower == "seeds/cost_relative_low"
    assert re.fullmatch(learning.chart[1].multiline.tag[0], "eval/cost_relative")
    written = {tag for run in runs.rglob(EVENT_FILE) for tag in read(run.parent).Tags()["scalars"]}
    charts = [chart for category in (learning, compared, left) for chart in category.chart[1:]]
    empty = {chart.title for chart in charts if not any(re.match(chart.multiline.tag[0], t) for t in written)}
    # This run has neither held-out scenarios nor a bound.
    assert empty == {"held-out cost by scenario, best static = 1", "test cost above the bound, share"}


def test_config_and_figures_are_there_to_look_at(runs):
    (event,) = read(runs / "zstd").Tensors("config/text_summary")
    assert event.tensor_proto.string_val[0] == b"```yaml\nseed: 0\n```"
    (image,) = read(runs / "report").Images("report/headroom")
    assert (image.width, image.height) == (1170, 260)


def test_writing_the_runs_again_changes_no_byte(runs, evidence):
    before = {
        path: path.read_bytes() for path in (runs / "hde" / EVENT_FILE, runs / "ppo/seed1" / EVENT_FILE)
    }
    write_tensorboard(runs, evidence, settings={"ppo": {"rate": 3e-4}}, config="seed: 0")
    assert {path: path.read_bytes() for path in before} == before
