"""Paths on the command line are taken literally, as a shell user means them."""

from pathlib import Path

import pytest
import yaml

from fer_lightning.cli import settings_of
from fer_lightning.cli.paths import literal_paths, parted
from fer_lightning.settings import AuditSettings, EvaluateSettings, TrainSettings, VisualizeSettings, path_keys

NAMES = [
    "archive (1).zip", "Mes données/a b.csv", "a=b.zip", "[x].csv", "[x]", "100%.zip", "it's.csv",
    'say "x".csv', "a,b.zip", "{x: 1}.csv", "$HOME.csv", "a\\b.zip", "end\\", "#1.csv",
    "true", "1e5", "a:b", "null.csv", "~other/x.csv", "*?.csv",
]  # fmt: skip


def test_every_setting_that_is_a_path_is_known():
    data = {"data.path", "data.labels", "data.votes", "data.cache_dir", "data.soft_labels"}
    assert path_keys(TrainSettings) == data | {"model.weights"}
    assert path_keys(EvaluateSettings) == data | {"checkpoint", "compare"}
    assert path_keys(AuditSettings) == data
    assert path_keys(VisualizeSettings) == data | {"checkpoint"}


@pytest.mark.parametrize("multirun", [False, True])
def test_labels_are_a_mapping_or_the_literal_path_of_one(multirun, compose, tmp_path):
    (tmp_path / "raf-db [1].yaml").write_text("1: surprise\ncontempt: null\n")
    for value in ("{1: surprise, contempt: null}", tmp_path / "raf-db [1].yaml"):
        words = literal_paths(["data=fer2013", f"data.labels={value}"], path_keys(TrainSettings), multirun)
        settings = settings_of(compose(*words), TrainSettings)
        assert settings.data.labels == (("1", "surprise"), ("contempt", None))


@pytest.mark.parametrize("name", NAMES)
def test_a_path_arrives_as_it_was_typed(name, compose):
    words = literal_paths(
        ["data=fer2013", f"data.path={name}", f"++data.cache_dir={name}"], path_keys(TrainSettings), False
    )
    settings = settings_of(compose(*words), TrainSettings)
    assert (settings.data.path, settings.data.cache_dir) == (name, name)


def test_the_tilde_is_the_home_folder(compose):
    (word,) = literal_paths(["data.path=~/fer2013.zip"], {"data.path"}, False)
    assert settings_of(compose("data=fer2013", word), TrainSettings).data.path == str(Path.home() / "fer2013.zip")


@pytest.mark.parametrize("word", ["data.path=null", "data.path='a b'", "data.path=${oc.env:X}", "data.path=choice(a,b)",
                                  "model.dropout=0.5", "data.path=", "--multirun", "optimizer.lr=1,2"])  # fmt: skip
def test_expressions_and_other_words_stay_as_they_are(word):
    assert literal_paths([word], {"data.path"}, True) == [word]


def test_lists_and_sweeps_are_split_where_no_such_file_exists(tmp_path, monkeypatch):
    keys = {"checkpoint", "data.path"}
    assert literal_paths(["checkpoint=[a b.ckpt, c.ckpt]"], keys, False) == ["checkpoint=['a b.ckpt','c.ckpt']"]
    assert literal_paths(["checkpoint=[]"], keys, False) == ["checkpoint=[]"]
    assert literal_paths(["data.path=a.csv,b.csv"], keys, True) == ["data.path='a.csv','b.csv'"]
    assert literal_paths(["data.path=a.csv,b.csv"], keys, False) == ["data.path='a.csv,b.csv'"]
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv,b.csv", "[a b.ckpt, c.ckpt]"):
        (tmp_path / name).touch()
    assert literal_paths(["data.path=a.csv,b.csv"], keys, True) == ["data.path='a.csv,b.csv'"]
    assert literal_paths(["checkpoint=[a b.ckpt, c.ckpt]"], keys, False) == ["checkpoint='[a b.ckpt, c.ckpt]'"]


def test_run_folders_and_databases_are_literal_too(train, tmp_path):
    folder = tmp_path / "a run (1), 50 % = half"
    ended = train("model=fc", "data.images=70", "trainer.max_epochs=1", "model.hidden=[8]", "draw.every=0",
                  "trainer.accelerator=cpu", f"hydra.run.dir={folder}")  # fmt: skip
    assert ended.code == 0, ended.err
    assert (folder / "metrics.json").exists()
    url = "hydra.sweeper.storage=postgresql://user@host/name?sslmode=require"
    assert literal_paths([url], (), True) == [url.replace("=", "='", 1) + "'"]


def test_names_with_commas_stay_whole_where_they_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    for name in ("a,b/x.ckpt", "a,b/y,z.ckpt"):
        (tmp_path / name).touch()
    assert parted("a,b/x.ckpt,a,b/y,z.ckpt,c,d") == ["a,b/x.ckpt", "a,b/y,z.ckpt", "c", "d"]
    words = literal_paths(["checkpoint=[a,b/x.ckpt, a,b/y,z.ckpt]"], {"checkpoint"}, False)
    assert words == ["checkpoint=['a,b/x.ckpt','a,b/y,z.ckpt']"]
    assert literal_paths(["data.path=a,b,c.csv"], {"data.path"}, True) == ["data.path='a,b','c.csv'"]


@pytest.mark.parametrize("name", ["sehr fröhlich", "a (1)", "x=y", "it's", 'say "x"', "50 %", "1.5", "no"])
def test_names_of_labels_may_hold_anything(name, compose):
    mapping = yaml.safe_dump({name: "happy", "contempt": None}, default_flow_style=True, allow_unicode=True).strip()
    (word,) = literal_paths([f"data.labels={mapping}"], path_keys(TrainSettings), False)
    settings = settings_of(compose("data=fer2013", word), TrainSettings)
    assert dict(settings.data.labels) == {name: "happy", "contempt": None}


def test_mappings_of_labels_can_be_swept_over(compose):
    (word,) = literal_paths(["data.labels={1: sad},{1: happy, 2: null}"], {"data.labels"}, True)
    assert word == "data.labels='{1: sad}','{1: happy, 2: null}'"
