"""A study is kept in a sweep folder of any name, and in a SQLite file whose address holds braces."""

import sqlite3

import pytest


def studies(file):
    with sqlite3.connect(file) as connection:
        return connection.execute("select count(*) from studies").fetchone()[0]


@pytest.mark.parametrize("name", ["a (1)", "50 %", "a%20b", "{now}", "why?", "x=[1]", "é, ü", "a#b", "it's"])
def test_a_study_is_kept_in_a_sweep_folder_of_any_name(name, open_study, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    assert open_study(folder).ask().number == 0
    assert studies(folder / "study.db") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_the_address_of_a_database_may_hold_braces(open_study, tmp_path):
    (tmp_path / "sweep").mkdir()
    assert open_study(tmp_path / "sweep", storage=f"sqlite:///{tmp_path}/{{x}} %.db").ask().number == 0
    assert studies(tmp_path / "{x} %.db") == 1
