"""docs/results, the pages made of it, and what `add` keeps of a run."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest
import torch
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from kept_results import write_kept
from written_runs import write_run

from fer_lightning.cli import settings_of
from fer_lightning.cli.composition import train_settings
from fer_lightning.errors import InputError
from fer_lightning.report.runs import read_run
from fer_lightning.results.__main__ import main
from fer_lightning.results.adding import activations, add, morans_i, smoothness
from fer_lightning.results.claims import FAILS, HOLDS, PARTLY, UNKNOWN, claims
from fer_lightning.results.pages import MARKS, missing_commands, readme_with_table, results_page
from fer_lightning.results.plan import PLAN, read_plan
from fer_lightning.results.record import read_results
from fer_lightning.settings import CONF, EvaluateSettings, dump

PROJECT = CONF.parent
KEPT = PROJECT / "docs" / "results"
Z = 1.959963985


@pytest.fixture
def folder(tmp_path):
    """A folder with the project's plan and no results."""
    shutil.copy(KEPT / PLAN, tmp_path / PLAN)
    return tmp_path


def plan_of(folder):
    return read_plan(folder, read_results(folder))


def claim(folder, words):
    return next(one for one in claims(plan_of(folder)) if words in one.title)


def test_the_pages_are_those_that_the_kept_results_make():
    plan = plan_of(KEPT)
    assert (PROJECT / "RESULTS.md").read_text() == results_page(plan), "python -m fer_lightning.results write"
    readme = (PROJECT / "README.md").read_text()
    assert readme == readme_with_table(readme, plan), "python -m fer_lightning.results write"


def test_every_accuracy_of_ours_in_readmes_table_stands_in_results():
    results, readme = ((PROJECT / name).read_text() for name in ("RESULTS.md", "README.md"))
    known = {f"{float(value):.1f}" for value in re.findall(r"([\d.]+) %", results)}
    table = readme.partition(MARKS[0])[2].partition(MARKS[1])[0]
    rows = [line for line in table.splitlines() if "`experiment=" in line]
    assert rows
    for row in rows:
        assert "PublicTest" in row or "PrivateTest" in row
        assert set(re.findall(r"([\d.]+) %", row)) <= known


def test_no_kept_file_names_a_place_of_the_machine_that_made_it():
    for path in KEPT.glob("*.json"):
        assert path.stat().st_size < 20_000
        assert not re.search(r'"(?:[^"]*[= \[,])?/|file:|~/', path.read_text()), path


def test_every_kept_run_belongs_to_a_row_or_names_its_overrides():
    plan = plan_of(KEPT)
    assert {row.name for row in plan.trained if row.results} >= {"paper_deep", "best"}
    for row in [*plan.trained, *plan.others]:
        for result in row.results:
            assert result.score("val"), result.name
            assert result.overrides


def test_what_is_missing_is_made_by_commands_that_compose(folder):
    lines = missing_commands(folder, [])
    jobs = [re.fullmatch(r"python -m fer_lightning\.(\w+) (.*)", line).groups() for line in lines]
    assert {name for name, _ in jobs} == {"train", "evaluate", "results"}
    for name, line in jobs:
        words = [word for word in shlex.split(line) if not word.startswith("hydra.")]
        if name == "train":
            assert train_settings(*words).data.name == "fer2013"
        elif name == "evaluate":
            with initialize_config_dir(str(CONF), version_base="1.3"):
                assert settings_of(hydra_compose("evaluate", words), EvaluateSettings).split == "val"
    trained = [re.search(r"hydra.run.dir=runs/(\S+)", line)[1] for name, line in jobs if name == "train"]
    assert len(trained) == len(set(trained))
    assert {line.removeprefix("add runs/") for name, line in jobs if name == "results"} > set(trained)


def test_no_command_is_left_for_a_row_with_all_its_seeds(folder):
    for seed in (0, 2):
        write_kept(folder, f"poster-seed{seed}", ["experiment=poster"], seed=seed)
    assert [line for line in missing_commands(folder, ["poster"]) if "train" in line] == [
        "python -m fer_lightning.train experiment=poster data.path=fer2013.zip seed=1 hydra.run.dir=runs/poster-seed1 "
        "resume=true"
    ]
    write_kept(folder, "poster-seed1", ["experiment=poster"], seed=1)
    assert missing_commands(folder, ["poster"]) == []
    with pytest.raises(InputError, match=r"postre: no such row. Did you mean"):
        missing_commands(folder, ["postre"])


def test_several_seeds_are_one_row_with_mean_and_deviation(folder):
    right = (400, 420, 440)
    for seed, correct in enumerate(right):
        write_kept(folder, f"fc-seed{seed}", ["experiment=fc"], correct, seed=seed)
    (line,) = [line for line in results_page(plan_of(folder)).splitlines() if line.startswith("| `fc` | PublicTest")]
    shares = np.array(right) / 700
    assert f"| 3 (± {100 * shares.std(ddof=1):.2f}) | {100 * shares.mean():.2f} % |" in line
    assert f"| {100 * shares.mean() + 1:.2f} % | {100 * shares.mean() - 2:.2f} % |" in line


def test_the_gain_of_deep_over_shallow_stands_beside_the_reports(folder):
    assert claim(folder, "Deeper").verdict == UNKNOWN
    write_kept(folder, "a", ["experiment=paper_shallow"], 385, train=(0.9, 0.99), val=(0.55, 0.54))
    write_kept(folder, "b", ["experiment=paper_deep"], 455, train=(0.4, 0.8), val=(0.4, 0.65))
    deeper = claim(folder, "Deeper")
    assert (deeper.verdict, deeper.needs) == (HOLDS, ["shallow", "deep"])
    assert deeper.rows[0][1:4] == ["55.00 %", "65.00 %", "+10.00"]
    assert deeper.rows[0][5] == "+18.18 %"
    assert "+18.46 %" in results_page(plan_of(folder))
    faster = claim(folder, "converges faster")
    assert faster.verdict == HOLDS
    assert [row[2] for row in faster.rows] == ["1", "2"]
    assert [row[-1] for row in faster.rows] == ["+45.00", "+15.00"]
    write_kept(folder, "c", ["experiment=shallow"], 420)
    write_kept(folder, "d", ["experiment=deep"], 424)  # within the noise
    assert claim(folder, "Deeper").verdict == PARTLY


def test_happy_is_compared_with_the_other_emotions_and_angry_with_its_confusions(folder):
    content = write_kept(folder, "a", ["experiment=paper_deep"])
    matrix = np.array(content["evaluations"][0]["confusion_matrix"])
    happy, angry = claim(folder, "Happy"), claim(folder, "Angry")
    assert (happy.verdict, angry.verdict) == (HOLDS, HOLDS)
    assert happy.rows[0][4] == f"**{matrix[3, 3]:.0f} %**"  # 100 faces of each emotion
    assert angry.rows[0][1:] == [f"{matrix[0, 0]} %", "sad 6 %", "fear 4 %", "neutral 2 %"]
    content["evaluations"][0]["confusion_matrix"] = np.flip(matrix).tolist()  # surprise is at fear's place
    (folder / "a.json").write_text(json.dumps(content))
    assert claim(folder, "Angry").verdict == FAILS


@pytest.mark.parametrize(
    ("difference", "p", "verdict"), [(0.02, 0.01, FAILS), (0.02, 0.4, HOLDS), (-0.03, 0.01, HOLDS)]
)
def test_a_hybrid_that_is_significantly_better_speaks_against_the_claim(folder, difference, p, verdict):
    test = {"with": "paper_deep-seed0/evaluation-val", "model": "conv_deep", "only_first_right": 31, "p_value": p}
    test |= {"only_second_right": 17, "difference": difference, "difference_ci95": [-0.01, 0.05]}
    write_kept(folder, "a", ["experiment=paper_hybrid_deep"], mcnemar=test)
    hog = claim(folder, "HOG")
    assert hog.verdict == verdict
    assert hog.rows[0][1:2] + hog.rows[0][4:6] == ["`paper_deep-seed0`", "31", "17"]
    assert "paper_hybrid_deep" not in hog.needs


def test_layers_whose_maps_get_sparser_and_more_local_are_counted(folder):
    maps = {"epochs": [0, 9], "sparsity": {"conv1": [0.4, 0.6], "conv2": [0.4, 0.5]}}
    maps["locality"] = {"conv1": [0.2, 0.3], "conv2": [0.3, 0.2]}
    filters = {"side": 7, "filters": 32, "autocorrelation": 0.6, "of_noise": 0.15, "smooth": 20}
    write_kept(folder, "a", ["experiment=poster"], activations=maps, filters=filters)
    sparser, smooth = claim(folder, "sparser"), claim(folder, "smooth")
    assert (sparser.verdict, sparser.evidence) == (PARTLY, "1 of 2")
    assert (smooth.verdict, smooth.rows[0][-1]) == (HOLDS, "20 of 32, 62 %")


def test_rows_of_the_ablation_are_compared_with_its_first(folder):
    write_kept(folder, "a", ["experiment=best", "trainer.max_epochs=24"], 420)
    write_kept(folder, "b", ["trainer.max_epochs=24", "experiment=best", "data.augment.shift=0"], 399)
    lines = results_page(plan_of(folder)).splitlines()
    (line,) = [line for line in lines if line.startswith("| no shift | PublicTest")]
    ends = []
    for p in (0.57, 0.60):  # Wilson's interval of each, Newcombe's (1998, method 10) of the difference
        middle, half = p + Z**2 / 1400, Z * (p * (1 - p) / 700 + Z**2 / (4 * 700**2)) ** 0.5
        ends.append(((middle - half) / (1 + Z**2 / 700), (middle + half) / (1 + Z**2 / 700)))
    low = -0.03 - ((0.57 - ends[0][0]) ** 2 + (ends[1][1] - 0.60) ** 2) ** 0.5
    high = -0.03 + ((ends[0][1] - 0.57) ** 2 + (0.60 - ends[1][0]) ** 2) ** 0.5
    assert f"| 57.00 % | -3.00 | {100 * low:+.1f} to {100 * high:+.1f} |" in line


def test_a_run_of_no_row_is_listed_with_its_overrides(folder):
    write_kept(folder, "mine-seed0", ["model=conv_deep", "optimizer.lr=0.3"])
    page = results_page(plan_of(folder))
    assert "## Other runs" in page
    assert "`mine`: `python -m fer_lightning.train model=conv_deep optimizer.lr=0.3 data.path=fer2013.zip`" in page


def test_every_table_is_one_block_of_equally_wide_rows(folder):
    for name in ("shallow", "deep", "best"):
        write_kept(folder, name, [f"experiment={name}"])
    for page in (results_page(plan_of(folder)), (PROJECT / "RESULTS.md").read_text()):
        tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
        assert len(tables) > 10
        for rows in tables:
            assert len({row.count("|") for row in rows}) == 1, rows[0]
            assert set(rows[1]) <= set("| :-")
            assert len(rows) > 2, rows


@pytest.fixture
def evaluated_run(tmp_path):
    """A run with the settings of experiment=paper_deep, trained and evaluated elsewhere."""
    made = {"machine": {"processor": "CPU", "cores": 4, "threads": 2, "gpu": None, "precision": "32-true"}}
    made |= {"versions": {"torch": "2"}, "commit": "abc1234", "images_per_second": 9.0}
    run = write_run(tmp_path / "somewhere" / "try-7", seed=3, **made)
    settings = train_settings("experiment=paper_deep", "data.path=/home/me/fer.zip", "draw.every=7", "seed=3")
    (run / ".hydra").mkdir()
    (run / ".hydra" / "config.yaml").write_text(yaml.safe_dump(dump(settings)))
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["model=conv_deep", "data.path=/home/me/fer.zip"]))
    for tta in ("none", "flip"):
        place = run / f"evaluation-val{'' if tta == 'none' else '-flip'}"
        place.mkdir()
        evaluation = write_kept(tmp_path, "x", [])["evaluations"][0] | {"tta": tta, "data": "fer2013", "seconds": 1.5}
        evaluation |= {"checkpoint": str(run / "checkpoints" / "best.ckpt"), "data_path": "/home/me/fer.zip"}
        evaluation["mcnemar"] = {"with": str(tmp_path / "other" / "evaluation-val" / "evaluation.json"), "model": "fc"}
        evaluation["mcnemar"] |= {"only_first_right": 1, "only_second_right": 2, "p_value": 0.5, "difference": 0.1}
        evaluation["mcnemar"]["difference_ci95"] = [0.0, 0.2]
        (place / "evaluation.json").write_text(json.dumps(evaluation))
        (tmp_path / "x.json").unlink()
    return run


def test_a_run_is_kept_under_the_row_of_its_settings_without_its_paths(evaluated_run, folder):
    path = add(evaluated_run, folder, train_settings)
    assert path.name == "paper_deep-seed3.json"
    text = path.read_text()
    assert str(evaluated_run.parents[1]) not in text
    assert "/home" not in text
    (result,) = read_results(folder)
    assert (result.overrides, result.commit, result.machine.threads) == (["experiment=paper_deep"], "abc1234", 2)
    assert result.score("val", "flip").mcnemar.other == "other/evaluation-val"
    assert result.score("val").command == (
        "python -m fer_lightning.evaluate checkpoint=runs/paper_deep-seed3/checkpoints/best.ckpt "
        "data.path=fer2013.zip split=val compare=runs/other/evaluation-val"
    )
    assert [row.name for row in plan_of(folder).trained if row.results] == ["paper_deep"]


def test_a_run_of_other_settings_is_kept_with_its_own_overrides(evaluated_run, folder):
    settings = train_settings("model=conv_deep", "data=fer2013", "optimizer.lr=0.3")
    (evaluated_run / ".hydra" / "config.yaml").write_text(yaml.safe_dump(dump(settings)))
    assert add(evaluated_run, folder, train_settings).name == "try-7.json"
    assert [row.planned.run for row in plan_of(folder).others] == ["model=conv_deep"]


def test_what_cannot_be_kept_is_refused_in_one_line(evaluated_run, folder, drawn_runs, capsys):
    def refusal(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["add", *map(str, arguments), "--folder", str(folder)])
        err = capsys.readouterr().err
        assert ended.value.code == 2
        assert err.count("\n") == 1
        return err

    assert "it was trained on synthetic" in refusal(drawn_runs / "deep")
    assert "expected letters, digits" in refusal(evaluated_run, "--name", "../x")
    metrics = json.loads((evaluated_run / "metrics.json").read_text())
    for key in ("machine", "versions", "commit"):
        metrics.pop(key)
    (evaluated_run / "metrics.json").write_text(json.dumps(metrics))
    assert "add --precision" in refusal(evaluated_run)
    add(evaluated_run, folder, train_settings, precision="bf16-mixed", commit="1234567")
    assert read_results(folder)[0].machine.threads == torch.get_num_threads()
    shutil.rmtree(evaluated_run / "evaluation-val")
    assert "no evaluation on val" in refusal(evaluated_run, "--precision", "32-true", "--commit", "1")
    assert "no such folder" in refusal(evaluated_run / "none", "--precision", "32-true", "--commit", "1")


def test_an_ensemble_is_kept_with_its_members(evaluated_run, folder):
    write_kept(folder, "best-seed0", ["experiment=best"])
    ensemble = folder / "somewhere" / "ensemble_vgg" / "evaluation-val"
    evaluation = json.loads((evaluated_run / "evaluation-val" / "evaluation.json").read_text())
    evaluation["checkpoint"] = ["/a/vgg/checkpoints/best.ckpt", "/a/wide/checkpoints/best.ckpt"]
    evaluation["checkpoint_sha256"] = [f"{'best-seed0':0<64}", "2" * 64]
    evaluation.pop("mcnemar")
    ensemble.mkdir(parents=True)
    (ensemble / "evaluation.json").write_text(json.dumps(evaluation | {"model": "2 x vgg"}))
    add(ensemble.parent, folder, train_settings)
    assert "/a/" not in (folder / "ensemble_vgg.json").read_text()
    assert "[runs/best-seed0/checkpoints/best.ckpt,runs/wide/checkpoints/best.ckpt]" in (
        plan_of(folder).ensembles[0].result.score("val").command
    )
    assert missing_commands(folder, ["ensemble_vgg"]) == []
    assert "[ensemble_vgg](docs/results/ensemble_vgg.json)" in results_page(plan_of(folder))
    add(ensemble.parent, folder, train_settings)  # beside an ensemble that is kept already


def test_a_run_says_where_it_was_made(drawn_runs):
    metrics = json.loads((drawn_runs / "deep" / "metrics.json").read_text())
    assert metrics["machine"]["precision"] == "32-true"
    assert metrics["machine"]["threads"] == torch.get_num_threads()
    assert metrics["versions"]["torch"] == torch.__version__
    if (PROJECT / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", metrics["commit"])


def test_the_kept_sparsity_is_that_of_the_events(drawn_runs):
    run = read_run(drawn_runs / "deep")
    kept = activations(run.events, run.layers)
    assert kept["epochs"] == [0, 1]
    for measure in ("sparsity", "locality"):
        for layer, values in kept[measure].items():
            assert values == pytest.approx([run.events.scalars[f"{measure}/{layer}"][k] for k in (0, 1)], abs=1e-4)


def test_morans_i_is_its_definition_and_of_a_checkerboard_minus_one():
    maps = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 5, 5)))
    for grid, found in zip(maps.numpy(), morans_i(maps).tolist(), strict=True):
        centred, total, weights = grid - grid.mean(), 0.0, 0
        for y, x in np.ndindex(5, 5):
            for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= y + down < 5 and 0 <= x + right < 5:
                    total += centred[y, x] * centred[y + down, x + right]
                    weights += 1
        assert found == pytest.approx(25 / weights * total / (centred**2).sum())
    board = torch.arange(6)[:, None] + torch.arange(6)[None]
    assert morans_i((board % 2).double()[None]).item() == pytest.approx(-1)


def test_of_noise_one_filter_in_twenty_is_smooth_and_of_gradients_all():
    noise = torch.randn(4000, 1, 7, 7, generator=torch.Generator().manual_seed(1))
    assert smoothness(noise)["smooth"] == pytest.approx(200, abs=60)
    slope = torch.linspace(-1, 1, 7).expand(8, 1, 7, 7)
    assert smoothness(slope)["smooth"] == 8


def test_what_pretraining_gives_is_a_table_of_means_over_the_seeds(folder):
    assert "Not measured yet." in results_page(plan_of(folder))
    made = {
        "machine": {"processor": "P", "cores": 2, "threads": 1, "gpu": None, "precision": "32-true"},
        "commit": None,
    }
    arm = {"share": 0.1, "images": 2871, "epochs": 10}
    rows = [
        {"kind": "from scratch", **arm, "accuracy": 0.301, "sd": 0.0123, "seeds": 3},
        {"kind": "fine-tuned", **arm, "accuracy": 0.3333, "sd": None, "seeds": 1},
        {"kind": "from scratch", **arm, "share": 0.3, "accuracy": 0.4, "sd": 0.01, "seeds": 2},  # not both yet
    ]
    settings = {name: ["a=1"] for name in ("common", "pretraining", "from scratch", "fine-tuned")}
    (folder / "transfer").mkdir()
    (folder / "transfer" / "transfer.json").write_text(json.dumps({"rows": rows, "settings": settings, **made}))
    page = results_page(plan_of(folder))
    section = page.partition("## What pretraining gives")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| 2")] == [
        "| 2,871 (10 %) | 10 | 30.1 % ± 1.2 | 33.3 % | +3.2 | 3, 1 |"
    ]
    assert "On P, 1 thread, 32-true." in section
