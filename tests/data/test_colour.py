"""Colour pictures of any size: readers, cache, statistics, copies, augmentation, against Pillow and numpy."""

import colorsys
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from skimage.feature import hog as reference_hog
from small_sets import USAGES, encoded, tar_bytes, write_folder, zip_bytes

from fer_lightning.cli import settings_of
from fer_lightning.data.augmentation import blend, recolour, turn_hue
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.duplicates import find_duplicates
from fer_lightning.data.faces import SPLITS, TRAIN
from fer_lightning.data.near_copies import near_pairs
from fer_lightning.data.picture_forms import PictureForm
from fer_lightning.data.reader import read_faces
from fer_lightning.data.sources import cached_hog, open_fer2013
from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.data.tensors import picture_tensor
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.settings import AugmentSettings, TrainSettings

COLOUR = PictureForm(channels=3, side=60)


def random_picture(seed: int, side: int = 60, width: int | None = None) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, width or side, 3), dtype=np.uint8)


def set_of(side: int = 60, splits: int = 3) -> dict[str, np.ndarray]:
    """Two pictures of each expression in each split, by the names of their files, in the order of the readers."""
    names = [f"{split}/{name}/{n}{row}.png" for split in SPLITS[:splits] for n in "12" for row, name in
             enumerate(EXPRESSIONS)]  # fmt: skip
    return {name: random_picture(seed, side) for seed, name in enumerate(names)}


def files_of(pictures: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: encoded(pixels, "PNG") for name, pixels in pictures.items()}


def csv_of(pictures: dict[str, np.ndarray]) -> str:
    lines = ["emotion,pixels,Usage"]
    for name, pixels in pictures.items():
        split, emotion, _ = name.split("/")
        usage, label = USAGES[SPLITS.index(split)], EXPRESSIONS.index(emotion)
        lines.append(f"{label},{' '.join(map(str, pixels.flatten()))},{usage}")
    return "\n".join(lines) + "\n"


def written(folder: Path, kind: str, pictures: dict[str, np.ndarray]) -> Path:
    if kind == "folder":
        return write_folder(folder / "set", files_of(pictures))
    content = {
        "zip": lambda: zip_bytes(files_of(pictures)),
        "tar": lambda: tar_bytes(files_of(pictures), "gz"),
        "csv": lambda: csv_of(pictures).encode(),
        "csv in zip": lambda: zip_bytes({"set/fer2013.csv": csv_of(pictures).encode()}),
    }
    (folder / "set").write_bytes(content[kind]())
    return folder / "set"


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "csv", "csv in zip"])
def test_every_form_of_a_colour_set_is_read_pixel_by_pixel(kind, tmp_path):
    pictures = set_of()
    faces = read_faces(written(tmp_path, kind, pictures), form=COLOUR)
    np.testing.assert_array_equal(faces.images, np.array(list(pictures.values())))
    assert faces.labels.tolist() == [EXPRESSIONS.index(name.split("/")[1]) for name in pictures]
    assert not [note for note in faces.notes if "grey" in note or "size" in note]


@pytest.mark.parametrize("kind", ["folder", "csv"])
@pytest.mark.parametrize("form", [PictureForm(1, 48), PictureForm(3, 48), PictureForm(1, 60), PictureForm(3, 96)])
def test_pictures_are_brought_to_the_form_as_pillow_does_it(kind, form, tmp_path):
    pictures = set_of()
    faces = read_faces(written(tmp_path, kind, pictures), form=form)
    mode, size = ("L" if form.channels == 1 else "RGB"), (form.side, form.side)
    expected = [ImageOps.fit(Image.fromarray(pixels).convert(mode), size) for pixels in pictures.values()]
    np.testing.assert_array_equal(faces.images, np.array([np.asarray(face) for face in expected]))
    assert any("42 images in colour, made grey" in note for note in faces.notes) == (form.channels == 1)
    resized = f"42 images of another size, cropped to a square and scaled to {form.side}x{form.side}"
    assert any(resized in note for note in faces.notes) == (form.side != 60)


def stored(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


RGB = Image.fromarray(random_picture(99))
ALPHA = Image.merge("RGBA", (*RGB.split(), Image.fromarray(random_picture(98)[..., 0])))
TURNED = Image.Exif()
TURNED[0x0112] = 6
SIXTEEN = Image.fromarray(np.random.default_rng(5).integers(0, 65536, (60, 60), dtype=np.uint16))
KINDS = {
    "transparency": (stored(ALPHA), RGB),
    "palette": (stored(RGB.quantize(64)), RGB.quantize(64).convert("RGB")),
    "CMYK": (stored(RGB.convert("CMYK"), "JPEG"), None),
    "EXIF": (stored(RGB, exif=TURNED), RGB.transpose(Image.Transpose.ROTATE_270)),
    "grey": (stored(RGB.convert("L")), RGB.convert("L")),
    "grey with transparency": (stored(ALPHA.convert("LA")), RGB.convert("L")),
    "grey in three channels": (stored(RGB.convert("L").convert("RGB")), RGB.convert("L")),
    "16 bits": (stored(SIXTEEN), Image.fromarray((np.asarray(SIXTEEN).astype(int) * 255 // 65535).astype(np.uint8))),
    "black and white": (stored(RGB.convert("1")), RGB.convert("1")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_beside_colour_is_read_as_pillow_shows_it(kind, tmp_path):
    content, expected = KINDS[kind]
    suffix = "jpg" if kind == "CMYK" else "png"
    files = files_of(set_of()) | {f"train/angry/0.{suffix}": content}
    faces = read_faces(write_folder(tmp_path, files), form=COLOUR)
    expected = (Image.open(io.BytesIO(content)) if expected is None else expected).convert("RGB")
    np.testing.assert_array_equal(faces.images[0], np.asarray(expected))
    grey = "grey" in kind or kind in ("16 bits", "black and white")
    assert any(note.startswith("data.channels=3: 1 of 43 images are grey") for note in faces.notes) == grey


@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_a_grey_set_of_small_pictures_is_kept_as_it_is_and_the_network_told_to_enlarge_it(kind, tmp_path):
    grey = {name: pixels[..., 0] for name, pixels in set_of(48).items()}
    path = written(tmp_path, kind, grey)
    faces, plain = read_faces(path, form=PictureForm(3, 96)), read_faces(path)
    for one, other in ((faces.images, plain.images), (faces.split, plain.split), (faces.labels, plain.labels)):
        np.testing.assert_array_equal(one, other)
    assert "data.channels=3: all 42 images are grey, the same in each channel." in faces.notes
    assert "data.size=96: the images have 48x48 pixels, which the network enlarges." in faces.notes
    assert not [note for note in plain.notes if "data." in note]


def test_small_and_large_grey_and_coloured_pictures_become_one_set(tmp_path):
    pictures = set_of()
    small, large = Image.fromarray(random_picture(70, 40)), Image.fromarray(random_picture(71, 100, 130)).convert("L")
    files = files_of(pictures) | {"train/angry/00.png": stored(small), "train/angry/01.png": stored(large)}
    faces = read_faces(write_folder(tmp_path, files), form=COLOUR)
    at_48 = ImageOps.fit(small, (48, 48))
    np.testing.assert_array_equal(faces.images[0], np.asarray(ImageOps.fit(at_48, (60, 60))))
    np.testing.assert_array_equal(faces.images[1], np.asarray(ImageOps.fit(large, (60, 60)).convert("RGB")))
    assert "data.channels=3: 1 of 44 images are grey, the same in each channel." in faces.notes


def test_csvs_of_several_sizes_and_colours_become_one_set(tmp_path):
    pictures = set_of(48)
    train = csv_of({name: pixels for name, pixels in pictures.items() if name.startswith("train")})
    rest = {
        name: np.asarray(Image.fromarray(pixels).convert("L").resize((64, 64))) for name, pixels in pictures.items()
    }
    val = csv_of({name: pixels for name, pixels in rest.items() if name.startswith("val")})
    files = {"train.csv": train.replace(",Training", "").replace(",Usage", "").encode()}
    files |= {"val.csv": val.replace(",PublicTest", "").replace(",Usage", "").encode()}
    faces = read_faces(write_folder(tmp_path, files), form=PictureForm(3, 64))
    assert faces.images.shape == (28, 64, 64, 3)
    expected = ImageOps.fit(Image.fromarray(pictures["train/angry/10.png"]), (64, 64))
    np.testing.assert_array_equal(faces.images[0], np.asarray(expected))
    np.testing.assert_array_equal(faces.images[14], np.dstack([rest["val/angry/10.png"]] * 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [" ".join(rows[0].split()[1:]), *rows[1:]],
         r"row 1 \(line 2\): 6911 pixels, expected 2304 \(48 x 48\), 6912 \(48 x 48 in colour\), or n \* n or 3 \* n"),
        (lambda rows: [*rows[:8], " ".join(rows[8].split()[1:]), *rows[9:]],
         r"row 9 \(line 10\): 6911 pixels, expected 6912 \(48 x 48 in colour\), as the rows before. Is the file cut"),
        (lambda rows: [*rows[:8], " ".join(rows[8].split()[:2304]), *rows[9:]],
         r"row 9 .*: 2304 pixels, expected 6912 .*Grey and colour pictures belong into separate csvs"),
        (lambda rows: ["7", *rows[1:]], r"row 1 .*: 1 pixels, expected 2304"),
        (lambda rows: [*rows[:8], rows[8] + " 256", *rows[9:]], r"row 9 .*: 6913 pixels"),
        (lambda rows: [*rows[:8], "256" + rows[8][rows[8].index(" "):], *rows[9:]], r"row 9 .*: pixel 1 is '256'"),
    ],
)  # fmt: skip
def test_a_csv_whose_pixels_are_no_square_is_refused_with_what_would_be(change, message, tmp_path):
    header, *lines = csv_of(set_of(48)).splitlines()
    rows = change([line.split(",")[1] for line in lines])
    cells = [line.split(",") for line in lines]
    text = [header, *(f"{label},{row},{usage}" for row, (label, _, usage) in zip(rows, cells, strict=True))]
    (tmp_path / "set.csv").write_text("\n".join(text))
    with pytest.raises(InputError, match=message):
        read_faces(tmp_path / "set.csv", form=COLOUR)


def test_each_form_of_a_set_has_a_cache_of_its_own_and_grey_the_one_that_it_had(tmp_path):
    path, cache = written(tmp_path, "zip", set_of()), tmp_path / "cache"
    shapes = {}
    for form in (PictureForm(), PictureForm(3, 48), PictureForm(1, 60), COLOUR):
        faces = open_fer2013(path, cache, check_counts=False, form=form)
        again = open_fer2013(path, cache, check_counts=False, form=form)
        np.testing.assert_array_equal(faces.images, read_faces(path, form=form).images)
        assert (again.folder, again.fingerprint) == (faces.folder, faces.fingerprint)
        shapes[faces.folder] = faces.images.shape[1:]
        with pytest.raises(ValueError, match="read-only"):
            faces.images[0] = 0
    assert list(shapes.values()) == [(48, 48), (48, 48, 3), (60, 60), (60, 60, 3)]
    assert open_fer2013(path, cache, check_counts=False).folder == next(iter(shapes))


@pytest.fixture(scope="module")
def datamodule(compose, tmp_path_factory) -> FaceDataModule:
    """A colour set, with HOG, as the settings open it."""
    folder = tmp_path_factory.mktemp("colour")
    data = f"data.path={written(folder, 'folder', set_of())}"
    settings = settings_of(
        compose("data=fer2013", data, "data.check_counts=false", "data.channels=3", "data.size=60",
                f"data.cache_dir={folder / 'cache'}"), TrainSettings,
    )  # fmt: skip
    opened = FaceDataModule(settings.data, with_hog=True)
    opened.setup()
    return opened


def test_statistics_are_of_each_channel(datamodule):
    images = np.array(list(set_of().values()))[:14].astype(float)
    mean, std, *_ = datamodule.statistics()
    np.testing.assert_allclose(mean, np.moveaxis(images.mean(axis=0), -1, 0), rtol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(np.square(images - images.mean(axis=0)).mean(axis=(0, 1, 2))), rtol=1e-6)
    assert datamodule.loaded.images.shape == (42, 3, 60, 60)


def test_cached_hog_is_that_of_grey_pictures_of_48_pixels_plain_and_mirrored(datamodule):
    features = cached_hog(datamodule.faces, datamodule.settings.hog)
    for row in (0, 41):
        small = np.asarray(ImageOps.fit(Image.fromarray(datamodule.faces.images[row]).convert("L"), (48, 48)))
        for orientation, picture in enumerate((small, small[:, ::-1])):
            expected = reference_hog(picture, 9, (8, 8), (2, 2), block_norm="L2-Hys")
            np.testing.assert_allclose(features[orientation, row], expected, atol=1e-5)


@pytest.mark.parametrize("key", ["saturation", "hue"])
def test_changes_of_colour_are_refused_for_grey_and_noted_where_all_images_are_grey(key, compose, tmp_path):
    with pytest.raises(InputError, match=rf"data.augment.{key}=0.5: grey pictures have no {key}.*data.channels=3"):
        settings_of(compose(f"data.augment.{key}=0.5"), TrainSettings)
    grey = {name: pixels[..., 0] for name, pixels in set_of(48).items()}
    path = written(tmp_path, "zip", grey)
    options = ["data=fer2013", f"data.path={path}", "data.check_counts=false", f"data.cache_dir={tmp_path / 'cache'}"]
    opened = FaceDataModule(
        settings_of(compose(*options, f"data.augment.{key}=0.5", "data.channels=3"), TrainSettings).data
    )
    opened.setup()
    assert "data.augment.saturation and hue change nothing: all images are grey." in opened.notes


def batch(count: int = 6) -> torch.Tensor:
    return picture_tensor(np.array([random_picture(seed, 20) for seed in range(count)])).float()


def augment(**values: float) -> AugmentSettings:
    return AugmentSettings(**(dict.fromkeys(AugmentSettings.model_fields, 0.0) | values))


ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}


@pytest.mark.parametrize("name", ENHANCERS)
def test_a_change_of_colour_is_that_of_pillow_by_an_amount_within_the_range(name):
    images = batch(20)
    changed = recolour(images, augment(**{name: 0.4}), torch.Generator().manual_seed(0))
    amounts = 0.4 * (2 * torch.rand(20, 1, 1, 1, generator=torch.Generator().manual_seed(0)) - 1)
    assert amounts.abs().max() <= 0.4
    assert amounts.max() > 0.2
    assert amounts.min() < -0.2
    for before, after, amount in zip(images, changed, amounts.flatten().tolist(), strict=True):
        pillow = Image.fromarray(before.permute(1, 2, 0).byte().numpy())
        expected = np.asarray(ENHANCERS[name](pillow).enhance(1 + amount)).astype(float)
        np.testing.assert_allclose(after.permute(1, 2, 0), expected, atol=1.5)  # Pillow rounds down, and its means too


def test_hues_turn_as_in_colorsys_and_grey_stays():
    images, degrees = batch(), torch.tensor([0.0, 30, 120, 180, -45, 359])[:, None, None, None]
    images[:, :, 0, 0] = 77.0  # a grey pixel
    turned = turn_hue(images, degrees)
    for before, after, angle in zip(images, turned, degrees.flatten().tolist(), strict=True):
        for row, column in ((0, 0), (3, 7), (19, 19), (10, 2)):
            hue, saturation, value = colorsys.rgb_to_hsv(*(before[:, row, column] / 255).tolist())
            expected = 255 * np.array(colorsys.hsv_to_rgb((hue + angle / 360) % 1, saturation, value))
            np.testing.assert_allclose(after[:, row, column], expected, atol=0.01)
    torch.testing.assert_close(turned[:1], images[:1], rtol=1e-4, atol=1e-3)
    assert torch.equal(turn_hue(images[:, :1], degrees), images[:, :1])


def test_all_changes_together_keep_values_in_their_range_and_differ_from_image_to_image():
    images = batch(1).expand(8, -1, -1, -1)
    settings = augment(brightness=1, contrast=1, saturation=1, hue=180)
    changed = recolour(images, settings, torch.Generator().manual_seed(1))
    assert 0 <= changed.min() < changed.max() <= 255
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 8
    assert recolour(images, augment(), torch.Generator()) is images
    assert settings.warps
    torch.testing.assert_close(blend(images, changed, torch.tensor(0.5)), (images + changed) / 2)


def test_copies_mirrored_and_near_copies_of_colour_pictures_are_found():
    smooth = [np.asarray(Image.fromarray(random_picture(seed, 6)).resize((60, 60), 2)) for seed in range(12)]
    lighter = np.clip(smooth[0] * 0.8 + 20, 0, 255).astype(np.uint8)
    other_hue = np.roll(smooth[1], 1, axis=2)
    images = np.array([*smooth, smooth[2], smooth[3][:, ::-1], lighter, other_hue, np.full((60, 60, 3), (9, 8, 7))])
    values = images.reshape(len(images), -1, 3).astype(float)
    centred = (values - values.mean(axis=1, keepdims=True)).reshape(len(images), -1)[:-1]
    plain = np.corrcoef(centred) * (1 - np.eye(len(centred)))
    found = near_pairs(images.astype(np.uint8), 0.9)
    assert [0, 14] in found.pairs.tolist()
    for first, second in zip(*np.nonzero(np.triu(plain >= 0.9)), strict=True):
        assert [first, second] in found.pairs.tolist()
    assert [1, 15] not in found.pairs.tolist()
    faces = synthetic_faces(70, side=60)
    own = faces.images.copy()
    own[:17] = images
    groups = find_duplicates(type(faces)(own, faces.labels, faces.split, faces.copy_groups), 0.9)
    assert groups.figures()["flat"] == 1
    assert groups.figures()["redundant"] == 1
    assert [3, 12] in groups.mirrored.tolist()  # groups are numbered without the exact copy


def test_synthetic_faces_in_colour_are_the_same_people_at_any_size():
    grey, small, large = synthetic_faces(140, seed=3), synthetic_faces(140, seed=3, side=48), synthetic_faces(
        140, seed=3, side=96)  # fmt: skip
    assert small.images.shape == (140, 48, 48, 3)
    assert large.images.shape == (140, 96, 96, 3)
    for faces in (small, large):
        np.testing.assert_array_equal(faces.labels, grey.labels)
        np.testing.assert_array_equal(faces.split, grey.split)
        assert len(set(faces.copy_groups.tolist())) == 140
    for row in range(0, 140, 7):
        luma = np.asarray(Image.fromarray(small.images[row]).convert("L"), float)
        reduced = np.asarray(Image.fromarray(large.images[row]).resize((48, 48), Image.Resampling.BOX).convert("L"))
        assert np.corrcoef(luma.ravel(), grey.images[row].ravel())[0, 1] > 0.8
        assert np.corrcoef(luma.ravel(), reduced.ravel().astype(float))[0, 1] > 0.85
    assert (small.images.max(axis=3).astype(int) - small.images.min(axis=3)).mean() > 20


def test_colours_of_synthetic_faces_tell_nothing_of_their_expression():
    faces = synthetic_faces(1400, seed=1, side=48, label_noise=0)
    means = faces.images.mean(axis=(1, 2))
    hues = (means - means.mean(axis=1, keepdims=True))[faces.split == TRAIN]
    labels = faces.labels[faces.split == TRAIN]
    between = np.array([hues[labels == label].mean(axis=0) for label in range(7)]).std(axis=0)
    assert (between < 4 * hues.std(axis=0) / np.sqrt(160)).all()


@pytest.mark.parametrize("side", [47, 513, 60.5])
def test_a_side_out_of_range_is_refused(side):
    with pytest.raises(InputError, match=r"side=.*48 to 512"):
        synthetic_faces(70, side=side)
