"""The report as HTML and as Markdown: figures as in the runs' files, and the commands that make what is missing."""

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser

import hydra
import numpy as np
import pytest
from written_runs import write_run, write_search

from fer_lightning.report.__main__ import main
from fer_lightning.report.page import write_report
from fer_lightning.report.runs import read_run
from fer_lightning.settings import CONF


@pytest.fixture(scope="module")
def page(drawn_runs, tmp_path_factory):
    """The HTML of the report of `drawn_runs`."""
    return write_report([drawn_runs], tmp_path_factory.mktemp("out") / "report").read_text()


@pytest.fixture
def html_of(tmp_path):
    """The HTML of the report of some folders."""
    return lambda *folders: write_report(folders, tmp_path.with_name(f"{tmp_path.name}-report")).read_text()


class Links(HTMLParser):
    """What a page refers to, its words, and its ids."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.words = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links += [given[key] for key in ("src", "href", "xlink:href", "srcset", "action") if key in given]
        self.ids += [given["id"]] if "id" in given else []

    def handle_data(self, data):
        self.words += data


def test_the_page_needs_nothing_but_itself(page):
    seen = Links(page)
    assert seen.links
    assert all(link.startswith(("data:", "#")) for link in seen.links)
    within = {link[1:] for link in seen.links if link.startswith("#")}
    assert within <= set(seen.ids)
    assert len(seen.ids) == len(set(seen.ids))
    assert "@import" not in page
    assert "<script" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_page_holds_every_section_with_its_pictures(page):
    for title in ("Results", "Shallow against deep", "Gain of deep", "Hybrid against raw", "Confusion", "Filters"):
        assert f"<h2>{title}" in page
    for caption in ("conv1, epoch 2", "happy: probability", "epoch 1</figcaption>"):
        assert caption in page
    assert page.count("<svg") == 3  # the curves of both networks, and the sparsity of each
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_matrix_on_the_page_is_the_one_of_the_best_epoch(drawn_runs, page):
    run = read_run(drawn_runs / "deep")
    table = page[page.index("<code>conv_deep</code>, val:") :]
    cells = re.findall(r"<td[^>]*>(\d+)%<small>([\d,]+)</small>", table)[:49]
    assert [int(count.replace(",", "")) for _, count in cells] == run.confusion.flatten().tolist()
    shares = run.confusion / run.confusion.sum(axis=1, keepdims=True)
    assert [int(share) for share, _ in cells] == pytest.approx(100 * shares.flatten(), abs=0.51)


def test_the_probabilities_of_dreams_are_written_below_them(drawn_runs, page):
    run = max((read_run(drawn_runs / name) for name in ("shallow", "deep")), key=lambda run: run.accuracy)
    ((_, reached),) = run.events.tensors["deepdream_probabilities"].items()
    assert reached.shape == (2, 7)
    assert f"happy: probability {reached[0, 3]:.1%} before, {reached[1, 3]:.1%} after" in page
    assert (reached[1] > reached[0]).all()


def test_the_table_of_results_holds_accuracy_interval_and_time(html_of, tmp_path):
    run = read_run(write_run(tmp_path / "run", right=2308, n=3589, seconds=3725.4))
    words = Links(html_of(tmp_path)).words
    assert f"{2308 / 3589:.2%}" in words
    assert f"{100 * run.interval[0]:.1f} to {100 * run.interval[1]:.1f} %" in words
    assert "1:02:05" in words


def test_the_gain_of_deep_over_shallow_stands_beside_the_papers(html_of, tmp_path):
    write_run(tmp_path / "a", "conv_shallow", right=1974)
    write_run(tmp_path / "b", "conv_deep", right=2338)
    text = html_of(tmp_path)
    assert f"{2338 / 1974 - 1:+.2%}" in text
    assert "+18.46%" in text


def test_evaluations_of_the_same_faces_are_listed_and_tested(html_of, tmp_path):
    for name, seen in (("shallow", [0, 0, 0]), ("deep", [0, 0, 1])):
        folder = write_run(tmp_path / name, f"conv_{name}") / "evaluation-val"
        folder.mkdir()
        evaluation = {"split": "val", "n": 3, "accuracy": seen.count(0) / 3, "accuracy_ci95": [0.1, 0.9]}
        evaluation |= {"images_sha256": "same", "confusion_matrix": np.eye(7, dtype=int).tolist()}
        (folder / "evaluation.json").write_text(json.dumps(evaluation | {"accuracy_unique": 0.625}))
        np.savez(folder / "predictions.npz", labels=np.zeros(3), probabilities=np.eye(7)[seen])
    text = html_of(tmp_path)
    assert "McNemar" in text
    assert "62.50%" in text


def test_mean_and_deviation_over_seeds(html_of, tmp_path):
    for seed, right in enumerate((60, 62, 67)):
        write_run(tmp_path / str(seed), right=right, n=100, seed=seed)
    words = Links(html_of(tmp_path)).words
    assert "63.00%" in words
    assert f"{np.std([0.60, 0.62, 0.67], ddof=1):.2%}" in words


def test_the_folds_of_a_cross_validation_are_listed(html_of, tmp_path):
    kept = {"model": "fc", "data": "fer2013", "cv/mean": 0.5, "cv/std": 0.01, "cv/scores": [0.49, 0.51]}
    (tmp_path / "metrics.json").write_text(json.dumps(kept))
    (tmp_path / "cross_validation.json").write_text("{}")
    assert "49.0% 51.0%" in html_of(tmp_path)


def test_figures_of_ferplus_stand_in_a_table_of_their_own(html_of, tmp_path):
    write_run(tmp_path / "a", "conv_deep", right=70, n=100)
    folder = write_run(tmp_path / "b", "conv_deep", data="ferplus", right=84, n=100)
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss"):
        metrics[f"ferplus-{name}"] = metrics.pop(name)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text = (folder / "history.csv").read_text()
    (folder / "history.csv").write_text(re.sub(r"(?=val/|train/)", "ferplus-", text))
    assert read_run(folder).accuracy == 0.84
    figures = re.findall(r'<figure class="table".*?</figure>', html_of(tmp_path), flags=re.DOTALL)
    tables = [figure for figure in figures if "val accuracy" in figure]
    assert ["84.00%" in table for table in tables] == [False, True]
    assert ["70.00%" in table for table in tables] == [True, False]
    assert ["FER+ labels, another task" in table for table in tables] == [False, True]


def test_a_search_is_a_table_with_its_best_trial_first_beside_the_papers_setting(html_of, tmp_path):
    write_search(tmp_path / "search")
    text = html_of(tmp_path)
    words = Links(text).words
    best, worse, paper = (words.index(value) for value in ("0.009877", "0.01235", "the paper's"))
    assert best < worse < paper
    assert "4 trials (2 complete, 1 fail, 1 pruned)" in words
    assert "+best=" in words
    assert "0.3" not in text[text.index("<h2>Hyper") : text.index("the paper&#39;s")].replace("rem", "")
    assert "No training run is among these" in words


def test_an_unfinished_run_is_shown_as_such(html_of, tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").unlink()
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("seed: 3\nmodel: {name: conv_deep}\ndata: {name: fer2013}\n")
    assert "1, unfinished" in html_of(tmp_path)


def test_what_is_missing_is_named_with_a_command_that_works(html_of, tmp_path):
    write_run(tmp_path / "run", "fc")
    commands = re.findall(r"python -m fer_lightning\.(\w+) (.*)", Links(html_of(tmp_path)).words)
    assert {name for name, _ in commands} == {"train", "evaluate", "visualize"}
    named = {word for _, line in commands for word in shlex.split(line) if word.startswith("model=")}
    needed = {"conv_shallow", "conv_deep", "hybrid_shallow", "hybrid_deep", "conv_poster"}
    assert named == {f"model={name}" for name in needed}
    for name, line in commands:
        words = [word for word in shlex.split(line) if word != "--multirun"]
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose("config" if name == "train" else name, words)
        chosen = dict(word.split("=", 1) for word in words)
        if "model" in chosen:
            assert config.model.name == chosen["model"]
            assert config.data.name == "fer2013"


def test_a_run_without_pictures_says_how_to_get_some(html_of, tmp_path):
    write_run(tmp_path / "run", "conv_poster")
    text = html_of(tmp_path)
    for what in ("Filters", "Activation maps", "Dreams"):
        assert f"{what}: these runs kept no pictures" in text
    assert "this run kept no confusion matrix" in text


def test_the_markdown_shows_the_same_figures_which_lie_beside_it(drawn_runs, tmp_path):
    out = write_report([drawn_runs], tmp_path / "report").parent
    text = (out / "report.md").read_text()
    linked = re.findall(r"\]\(figures/([^)]+)\)", text)
    assert {path.name for path in (out / "figures").iterdir()} == set(linked)
    assert len(linked) == len(set(linked))
    assert all((out / "figures" / name).read_bytes().startswith(b"\x89PNG") for name in linked)
    rows = [line for line in text.splitlines() if line.startswith("| `conv_deep`")]
    assert f"{read_run(drawn_runs / 'deep').accuracy:.2%}" in rows[0]
    assert "\n\n\n" not in text


def test_every_table_of_the_markdown_is_one_block_of_equally_wide_rows(drawn_runs, tmp_path):
    text = (write_report([drawn_runs], tmp_path / "report").parent / "report.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) > 5
    for rows in tables:
        assert len(rows) >= 3
        assert len({row.count("|") for row in rows}) == 1
        assert set(rows[1]) <= set("| :-")


def test_words_of_a_run_cannot_become_markup(html_of, tmp_path):
    write_run(tmp_path / "run", "<script>alert(1)</script>")
    text = html_of(tmp_path)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.fixture
def refusal(capsys):
    """The one line with which the command refuses its arguments."""

    def message(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        err = capsys.readouterr().err
        assert ended.value.code == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return message


def test_a_folder_without_runs_is_one_message_and_no_report(refusal, tmp_path):
    out = tmp_path / "out"
    assert "no such folder" in refusal(tmp_path / "none", "--out", out)
    (tmp_path / "empty").mkdir()
    assert "neither a run (metrics.json, history.csv) nor a search" in refusal(tmp_path / "empty", "--out", out)
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").write_text("{}")
    assert "it holds no model, data" in refusal(folder, "--out", out)
    assert not out.exists()


def test_an_earlier_report_is_replaced_and_no_other_folder(refusal, tmp_path, capsys):
    folder, out = write_run(tmp_path / "run"), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("three years of work")
    assert "no earlier report" in refusal(folder, "--out", out)
    assert (out / "thesis.txt").exists()
    (out / "thesis.txt").rename(tmp_path / "thesis.txt")
    main([str(folder), "--out", str(out)])
    assert capsys.readouterr().out.startswith(f"{out / 'report.html'} (0.")
    (out / "figures" / "old.png").write_bytes(b"old")
    main([str(folder), "--out", str(out)])
    assert not (out / "figures" / "old.png").exists()
    assert not list(tmp_path.glob(".*"))


def test_the_command_loads_neither_lightning_nor_hydra_nor_optuna_and_its_help_not_even_torch():
    code = "import fer_lightning.report.{}, sys; print({{'lightning', 'hydra', 'optuna', 'torch'}} & set(sys.modules))"
    for module, loaded in (("__main__", set()), ("page", {"torch"})):
        command = [sys.executable, "-c", code.format(module)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == str(loaded)
