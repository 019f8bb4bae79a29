"""FER+ labels: votes are read, decided by majority and matched with the faces row by row."""

import numpy as np
import pytest
import torch
from ferplus_sets import COLUMNS, ferplus_overrides, write_ferplus
from small_sets import USAGES

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.ferplus import majority_of, read_votes
from fer_lightning.data.sources import CachedFaces, open_faces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.hog import hog
from fer_lightning.settings import TrainSettings


@pytest.fixture
def ferplus(tmp_path):
    return tmp_path, *write_ferplus(tmp_path)


@pytest.fixture
def opened(compose):
    def faces(*overrides: str) -> CachedFaces:
        return open_faces(settings_of(compose(*overrides), TrainSettings).data)

    return faces


@pytest.mark.parametrize("seed", range(3))
def test_votes_are_counted_as_a_plain_loop_counts_them(seed):
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(10, rng.dirichlet(np.full(10, 0.4), 300))
    found = majority_of(counts)
    for row, votes in enumerate(counts.tolist()):
        valid = [count if count > 1 else 0 for count in votes]
        winners = [place for place, count in enumerate(valid) if count > sum(valid) / 2]
        assert found.decided[row] == (bool(winners) and winners[0] < 7)
        assert found.other[row] == (winners[0] - 7 if winners and winners[0] >= 7 else -1)
        if found.decided[row]:
            assert found.labels[row] == winners[0]
        assert found.expressive[row] == (sum(valid[:7]) > sum(valid) / 2)
        if found.expressive[row]:
            assert found.shares[row] == pytest.approx([count / sum(valid[:7]) for count in valid[:7]])


def test_columns_of_the_file_go_to_the_expressions_of_their_name(ferplus):
    folder, _, rows = ferplus
    split, counts = read_votes(folder / "votes.csv")
    assert split.tolist() == [USAGES.index(usage) for usage, _ in rows]
    for found, (_, cells) in zip(counts.tolist(), rows, strict=True):
        expected = dict(zip(COLUMNS, cells, strict=True))
        assert found == [expected[name] for name in (*EXPRESSIONS, "contempt", "unknown", "NF")]


def test_majority_labels_leave_out_what_has_none(ferplus, opened):
    folder, made, _ = ferplus
    faces = opened(*ferplus_overrides(folder))
    assert len(faces) == len(made) - 4
    pixels = [one.pixels for row, one in enumerate(made) if row not in (0, 1, 2, 45)]
    np.testing.assert_array_equal(faces.images, pixels)
    expected = [one.label for one in made]
    expected[3] = (made[3].label + 1) % 7
    assert faces.labels.tolist() == [label for row, label in enumerate(expected) if row not in (0, 1, 2, 45)]
    assert "4 of 70 images are left out: no majority 2, contempt 1, unknown 0, no face 1" in faces.notes[-1]
    own = opened("data=fer2013", *ferplus_overrides(folder)[1:2], "data.check_counts=false")
    assert faces.fingerprint != own.fingerprint


def test_soft_targets_are_shares_in_training_and_the_majority_in_validation(ferplus, compose):
    folder, made, _ = ferplus
    config = compose(*ferplus_overrides(folder, "data.soft=true", "data.augment.flip=0.0"))
    module = FaceDataModule(settings_of(config, TrainSettings).data, with_hog=True)
    module.setup()
    assert module.split_sizes == {"train": 40, "val": 13, "test": 14}
    row = next(row for row, image in enumerate(module.faces.images) if np.array_equal(image, made[2].pixels))
    shares = torch.zeros(7)
    shares[[EXPRESSIONS.index("fear"), EXPRESSIONS.index("surprise")]] = 0.5
    assert torch.equal(module.tensors.shares[row], shares)
    (batch,) = module.train_dataloader()
    assert batch.targets.shape == (40, 7)
    torch.testing.assert_close(batch.targets.sum(dim=1), torch.ones(40))
    place = next(
        place for place, image in enumerate(batch.images) if torch.equal(image[0], torch.tensor(made[2].pixels).float())
    )
    assert torch.equal(batch.targets[place], shares)
    (validation,) = module.val_dataloader()
    assert validation.targets.dtype == torch.int64
    torch.testing.assert_close(batch.hog, hog(batch.images[:, 0]))  # of the rows that were kept


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "votes on 13 images of test; the data has 14"),
        (lambda lines: [lines[0], *np.roll(lines[1:43], 7), *lines[43:]], "in the order of fer2013.csv"),
        (lambda lines: [lines[0].replace("sadness", "sorrow"), *lines[1:]], "no column sad; expected fer2013new.csv"),
        (lambda lines: [*lines[:5], lines[5].replace("8", "x"), *lines[6:]], r"line 6\): 'x' is no number of votes"),
        (lambda lines: [*lines[:5], lines[5] + ",1", *lines[6:]], r"line 6\): 13 columns, expected 12"),
        (lambda lines: [*lines[:5], lines[5].replace("Training", "Tset"), *lines[6:]], r"line 6\): Usage 'Tset'"),
        (lambda lines: [*lines[:5], lines[5].replace("8", "").replace("2,", "x,"), *lines[6:]], r"line 6\): 'x' is no"),
        (lambda lines: lines[:1], "a header, but no votes"),
        (lambda lines: [], "no column usage"),
    ],
)
def test_votes_that_do_not_belong_to_the_faces_are_refused(ferplus, opened, change, said):
    folder, *_ = ferplus
    path = folder / "votes.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(InputError, match=said):
        opened(*ferplus_overrides(folder))


def test_votes_must_be_named(ferplus, opened):
    folder, *_ = ferplus
    with pytest.raises(InputError, match=r"data\.votes is not set: data=ferplus needs fer2013new\.csv"):
        opened("data=ferplus", f"data.path={folder / 'fer2013.csv'}", "data.check_counts=false")
