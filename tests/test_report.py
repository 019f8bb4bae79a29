"""The report says what the runs hold: figures against oracles, words against files, the missing by its command."""

import contextlib
import csv
import io
import json
import re
import shlex
from html.parser import HTMLParser

import hydra
import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning.checkpoints import load_classifier, read_checkpoint
from fer_lightning.commands import CONF
from fer_lightning.data.faces import VAL
from fer_lightning.report import __main__ as command
from fer_lightning.report.book import put_in_order
from fer_lightning.report.comparisons import gain, paired
from fer_lightning.report.events import read_events, records
from fer_lightning.report.found import Found, gather
from fer_lightning.report.runs import Run, read_run
from fer_lightning.run import build

SMALL = [
    "data.images=210",
    "data.batch_size=32",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "draw.share=1",
]
SMALL += ["model.hidden=[8]", "draw.embedding=0", "trainer.max_epochs=2", "optimizer.lr=0.05"]
SHALLOW = ["model=conv_shallow", "model.conv=[{filters: 4, pool: 4}]"]
DEEP = ["model=conv_deep", "model.conv=[{filters: 4, pool: 2},{filters: 5, pool: 2}]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, train):
    """A shallow and a deep network on synthetic faces, two epochs each."""
    folder = tmp_path_factory.mktemp("runs")
    for name, model in (("shallow", SHALLOW), ("deep", DEEP)):
        ended = train(*SMALL, *model, f"hydra.run.dir={folder / name}")
        assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    return command.report([runs], tmp_path_factory.mktemp("out") / "report").read_text()


def write_run(folder, model="conv_deep", right=2338, n=3589, data="fer2013", seed=0, **others):
    """A finished run by its two files."""
    folder.mkdir(parents=True)
    accuracy = right / n
    metrics = {"val/accuracy": accuracy, "val/loss": 1.0, "val/macro_f1": 0.5, "train/accuracy": 0.7, "train/loss": 0.8}
    history = {"epoch": 0, **metrics, "lr": 0.1, "images_per_second": 100.0, "seconds": 10.0}
    metrics |= {"best_epoch": 0, "epochs": 1, "parameters": 12345, "seconds": 10.0, "seed": seed, "model": model}
    metrics |= {"data": data, "split_sizes": {"train": 28709, "val": n}, "finished": True} | others
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history))
        writer.writeheader()
        writer.writerow(history)
    return folder


def write_search(folder):
    """A search as `fer_lightning.search.results` writes it: two complete trials, one pruned, one failed."""
    (folder / "plots").mkdir(parents=True)
    heads = ["trial", "state", "accuracy", "optimizer.lr", "model.hidden", "cv/std", "fold_scores", "wall_seconds"]
    rows = [
        ["0", "COMPLETE", "0.41", "0.0123456", "[256]", "0.01", "0.40 0.42", "9", "1", "", "trial-0000"],
        ["1", "PRUNED", "", "0.3", "[512]", "", "0.20", "5", "1", "", "trial-0001"],
        ["2", "COMPLETE", "0.53", "0.0098768", "[256, 512]", "0.02", "0.51 0.55", "9", "1", "", "trial-0002"],
        ["3", "FAIL", "", "3.1", "[64]", "", "", "1", "1", "diverged", "trial-0003"],
    ]
    with open(folder / "trials.csv", "w", newline="") as file:
        csv.writer(file).writerows([[*heads, "tries", "reason", "folder"], *rows])
    (folder / "best.yaml").write_text("# Trial 2\noverrides:\n- model=conv_deep\n- ++optimizer.lr=0.0098768\n")
    png = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
    (folder / "plots" / "history.png").write_bytes(png)
    return folder


class Links(HTMLParser):
    """All that a page refers to, its words, and the ids it holds."""

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


def test_the_confusion_counts_are_those_of_the_validated_network(runs):
    last = runs / "deep" / "checkpoints" / "last.ckpt"
    datamodule, _ = build(read_checkpoint(last)["config"])
    network, rows = load_classifier(last), datamodule.rows[VAL]
    labels = datamodule.tensors.labels[rows]
    with torch.no_grad():
        answers = network.classify(datamodule.tensors.images[rows]).argmax(dim=1)
    run = read_run(runs / "deep")
    counts = run.events.tensors["confusion_counts/val"]
    np.testing.assert_array_equal(counts[1], confusion_matrix(labels, answers, labels=range(7)))
    for epoch, accuracy in enumerate(run.history["val/accuracy"]):
        assert counts[epoch].trace() / counts[epoch].sum() == pytest.approx(accuracy)
    assert run.confusion.trace() / run.confusion.sum() == pytest.approx(run.accuracy)


def test_the_matrix_on_the_page_is_the_one_of_the_best_epoch(runs, page):
    run = read_run(runs / "deep")
    table = page[page.index("<code>conv_deep</code>, val:") :]
    cells = re.findall(r"<td[^>]*>(\d+)%<small>([\d,]+)</small>", table)[:49]
    assert [int(count.replace(",", "")) for _, count in cells] == run.confusion.flatten().tolist()
    shares = run.confusion / run.confusion.sum(axis=1, keepdims=True)
    assert [int(share) for share, _ in cells] == pytest.approx(100 * shares.flatten(), abs=0.51)


def test_events_are_read_as_tensorboard_reads_them(runs):
    folder = runs / "shallow" / "tensorboard"
    ours = read_events(folder)
    theirs = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0}).Reload()
    assert ours.scalars.keys() == set(theirs.Tags()["scalars"])
    for tag, values in ours.scalars.items():
        assert values == {event.step: event.value for event in theirs.Scalars(tag)}
    assert ours.pictures.keys() == set(theirs.Tags()["images"])
    for tag, pictures in ours.pictures.items():
        assert pictures == {event.step: event.encoded_image_string for event in theirs.Images(tag)}
    assert {"confusion_counts/val", "deepdream_probabilities"} <= ours.tensors.keys()


def test_an_event_file_that_is_being_written_is_read_as_far_as_it_is_whole(runs, tmp_path):
    (path,) = (runs / "shallow" / "tensorboard").glob("events.*")
    whole = list(records(path))
    content, cut = path.read_bytes(), tmp_path / "events.out.tfevents.1"
    for length in np.random.default_rng(0).integers(0, len(content), 30).tolist():
        cut.write_bytes(content[:length])
        part = list(records(cut))
        assert part == whole[: len(part)]
        assert len(part) < len(whole)


def test_the_dreamed_probabilities_are_written_below_the_dreams(runs, page):
    run = max((read_run(runs / name) for name in ("shallow", "deep")), key=lambda run: run.accuracy)
    ((_, reached),) = run.events.tensors["deepdream_probabilities"].items()
    assert reached.shape == (2, 7)
    assert f"happy: probability {reached[0, 3]:.1%} before, {reached[1, 3]:.1%} after" in page
    assert (reached[1] > reached[0]).all()


def test_the_interval_is_wilsons(tmp_path):
    run = read_run(write_run(tmp_path / "run", right=2308, n=3589))
    p, n, z = 2308 / 3589, 3589, 1.959963985
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert run.interval == pytest.approx(((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)))
    text = command.report([tmp_path / "run"], tmp_path / "out").read_text()
    assert f"{100 * run.interval[0]:.1f} to {100 * run.interval[1]:.1f} %" in text


def test_the_gain_is_relative_and_its_interval_newcombes(tmp_path):
    # Newcombe, Statistics in Medicine 17 (1998), table II, (a): 56/70 - 48/80, method 10
    first = read_run(write_run(tmp_path / "a", right=56, n=70))
    second = read_run(write_run(tmp_path / "b", right=48, n=80))
    found = gain(first, second)
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.relative == pytest.approx(56 / 70 / (48 / 80) - 1)


def test_the_gain_of_deep_over_shallow_stands_beside_the_papers(tmp_path):
    write_run(tmp_path / "runs" / "a", "conv_shallow", right=1974)
    write_run(tmp_path / "runs" / "b", "conv_deep", right=2338)
    text = command.report([tmp_path / "runs"], tmp_path / "out").read_text()
    assert f"{2338 / 1974 - 1:+.2%}" in text
    assert "+18.46%" in text


def test_two_evaluated_runs_are_compared_face_by_face(runs, tmp_path):
    from fer_lightning.evaluation_files import EVALUATION, PREDICTIONS

    answers = {"shallow": [0, 1, 2, 3, 4, 5, 6, 0, 1, 2], "deep": [0, 1, 2, 3, 4, 5, 5, 1, 2, 3]}
    labels, found = np.array([0, 1, 2, 3, 4, 5, 6, 1, 2, 3]), []
    for name, seen in answers.items():
        folder = write_run(tmp_path / name, f"conv_{name}") / "evaluation-val"
        folder.mkdir()
        right = float((np.array(seen) == labels).mean())
        figures = {"split": "val", "tta": "none", "n": 10, "accuracy": right, "accuracy_ci95": [0.1, 0.9]}
        figures |= {"images_sha256": "same", "confusion_matrix": np.diag([1] * 7).tolist(), "accuracy_unique": 0.625}
        (folder / EVALUATION).write_text(json.dumps(figures))
        np.savez(folder / PREDICTIONS, labels=labels, probabilities=np.eye(7)[seen])
        found.append(read_run(tmp_path / name))
    test = paired(found[1], found[0])
    assert (test["only_first_right"], test["only_second_right"]) == (3, 1)
    assert test["p_value"] == pytest.approx(0.625)  # two-sided binomial of 3 in 4
    text = command.report([tmp_path], tmp_path.with_name("compared")).read_text()
    assert "McNemar" in text
    assert "62.50%" in text
    assert found[0].confusion.tolist() == np.diag([1] * 7).tolist()


def test_seeds_are_put_together(tmp_path):
    for seed, right in enumerate((60, 62, 67)):
        write_run(tmp_path / "runs" / str(seed), right=right, n=100, seed=seed)
    text = Links(command.report([tmp_path / "runs"], tmp_path / "out").read_text()).words
    assert "63.00%" in text
    assert f"{np.std([0.60, 0.62, 0.67], ddof=1):.2%}" in text


def test_runs_on_different_faces_are_not_compared(tmp_path):
    write_run(tmp_path / "a", "conv_shallow", data="synthetic", right=99, n=100)
    write_run(tmp_path / "b", "conv_deep")
    book = put_in_order(gather([tmp_path]))
    assert book.data == "fer2013"
    assert list(book.chosen) == ["conv_deep"]


def test_figures_of_ferplus_stand_in_a_table_of_their_own(tmp_path):
    write_run(tmp_path / "a", "conv_deep", right=70, n=100)
    folder = write_run(tmp_path / "b", "conv_deep", data="ferplus", right=84, n=100)
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss"):
        metrics[f"ferplus-{name}"] = metrics.pop(name)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text = (folder / "history.csv").read_text()
    (folder / "history.csv").write_text(re.sub(r"(?=val/|train/)", "ferplus-", text))
    assert read_run(folder).accuracy == 0.84
    made = command.report([tmp_path], tmp_path.with_name("plus")).read_text()
    tables = [table for table in re.findall(r"<table.*?</table>", made, flags=re.DOTALL) if "val accuracy" in table]
    assert ["84.00%" in table for table in tables] == [False, True]
    assert ["70.00%" in table for table in tables] == [True, False]
    assert "FER+" in tables[1]
    assert "FER+" not in tables[0]


def test_of_several_runs_of_a_network_the_most_accurate_stands_for_it(tmp_path):
    for name, right in (("a", 50), ("b", 70), ("c", 60)):
        write_run(tmp_path / name, right=right, n=100)
    assert put_in_order(gather([tmp_path])).chosen["conv_deep"].folder.name == "b"


def test_a_search_is_a_table_with_its_best_trial_first_beside_the_papers_setting(tmp_path):
    write_search(tmp_path / "search")
    text = command.report([tmp_path / "search"], tmp_path / "out").read_text()
    words = Links(text).words
    best, worse, paper = (words.index(value) for value in ("0.009877", "0.01235", "the paper's"))
    assert best < worse < paper
    assert "4 trials (2 complete, 1 pruned, 1 fail)" in words
    assert "+best=" in words
    assert "0.3" not in text[text.index("<h2>Hyper") : text.index("the paper")].replace("rem", "")
    assert "No training run is among these" in words


def test_the_folds_of_a_cross_validation_are_no_runs_of_their_own(tmp_path):
    folder = tmp_path / "cv"
    write_run(folder / "fold-1")
    kept = {"model": "fc", "data": "fer2013", "cv/mean": 0.5, "cv/std": 0.01, "cv/scores": [0.49, 0.51]}
    (folder / "metrics.json").write_text(json.dumps(kept))
    (folder / "cross_validation.json").write_text("{}")
    found = gather([tmp_path])
    assert (len(found.runs), len(found.validations)) == (0, 1)
    assert "49.0% 51.0%" in command.report([tmp_path], tmp_path.with_name("cv-report")).read_text()


def test_an_unfinished_run_is_shown_as_far_as_it_came(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").unlink()
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("seed: 3\nmodel: {name: conv_deep}\ndata: {name: fer2013}\n")
    run = read_run(folder)
    assert (run.model, run.metrics["seed"], run.interval) == ("conv_deep", 3, None)
    assert "1, unfinished" in command.report([folder], tmp_path / "out").read_text()


def test_what_is_missing_is_named_with_a_command_that_works(tmp_path, compose):
    write_run(tmp_path / "run", "fc")
    text = Links(command.report([tmp_path / "run"], tmp_path / "out").read_text()).words
    commands = re.findall(r"python -m fer_lightning\.(\w+) (.*)", text)
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


def test_a_run_without_pictures_says_how_to_get_some(tmp_path):
    write_run(tmp_path / "run", "conv_poster")
    text = command.report([tmp_path / "run"], tmp_path / "out").read_text()
    for what in ("Filters", "Activation maps", "Dreams"):
        assert f"{what}: these runs kept no pictures" in text
    assert "this run kept no confusion matrix" in text


def test_the_markdown_shows_the_same_figures_which_lie_beside_it(runs, tmp_path):
    out = command.report([runs], tmp_path / "report").parent
    text = (out / "report.md").read_text()
    linked = re.findall(r"\]\(figures/([^)]+)\)", text)
    assert {path.name for path in (out / "figures").iterdir()} == set(linked)
    assert len(linked) == len(set(linked))
    assert all((out / "figures" / name).read_bytes().startswith(b"\x89PNG") for name in linked)
    rows = [line for line in text.splitlines() if line.startswith("| `conv_deep`")]
    assert f"{read_run(runs / 'deep').accuracy:.2%}" in rows[0]


def test_words_of_a_run_cannot_become_markup(tmp_path):
    write_run(tmp_path / "run", "<script>alert(1)</script>")
    text = command.report([tmp_path / "run"], tmp_path / "out").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def refused(*arguments):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        command.main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    message = err.getvalue()
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


def test_a_bad_folder_is_one_message_and_no_report(tmp_path):
    out = tmp_path / "out"
    assert "no such folder" in refused(tmp_path / "none", "--out", out)
    (tmp_path / "empty").mkdir()
    assert "neither a run (metrics.json, history.csv) nor a search" in refused(tmp_path / "empty", "--out", out)
    folder = write_run(tmp_path / "run")
    (folder / "history.csv").write_text("epoch,val/accuracy\n0,high\n")
    assert "not the history of a run" in refused(folder, "--out", out)
    folder = write_run(tmp_path / "other")
    (folder / "metrics.json").write_text('{"accuracy": 1}')
    assert "it holds no model, data" in refused(folder, "--out", out)
    (folder / "metrics.json").write_text('{"accura')
    assert "cannot be read" in refused(folder, "--out", out)
    search = write_search(tmp_path / "search")
    (search / "trials.csv").write_text("a,b\n1,2\n")
    assert "not the trials of a search" in refused(search, "--out", out)
    assert not out.exists()


def test_a_folder_of_something_else_is_not_replaced_but_an_earlier_report_is(tmp_path):
    folder, out = write_run(tmp_path / "run"), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("three years of work")
    assert "no earlier report" in refused(folder, "--out", out)
    assert (out / "thesis.txt").exists()
    (out / "thesis.txt").rename(tmp_path / "thesis.txt")
    command.report([folder], out)
    (out / "figures" / "old.png").write_bytes(b"old")
    command.report([folder], out)
    assert not (out / "figures" / "old.png").exists()
    assert not list(tmp_path.glob(".*"))


def test_nothing_at_all_can_be_put_in_order():
    book = put_in_order(Found([], [], []))
    assert (book.chosen, book.drawn) == ({}, [])
    assert isinstance(book.command("fc"), str)
    assert Run.__doc__
