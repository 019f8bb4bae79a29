"""The command `predict`: paths, tables, files, exit statuses."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fer_lightning import EXPRESSIONS
from fer_lightning.recognition.media_paths import copies_of, media_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A folder of photos: one face, none, a broken file, another one below."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    (folder / ".hidden").mkdir()
    Image.fromarray(data.astronaut()).save(folder / "astronaut.jpg", quality=95)
    Image.fromarray(data.coffee()).save(folder / "coffee.PNG")
    Image.fromarray(data.astronaut()).resize((300, 300)).save(folder / "below" / "astronaut.webp")
    Image.fromarray(data.astronaut()).save(folder / ".hidden" / "thumbnail.jpg")
    (folder / "broken.jpg").write_bytes((folder / "astronaut.jpg").read_bytes()[:5000])
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="module")
def predict(run_command, random_weights):
    """The command in this process, with random weights."""

    def run(*arguments: object):
        return run_command("predict", *arguments, "--weights", random_weights[0])

    return run


def test_one_photo_gives_a_table(predict, photos):
    ended = predict(photos / "astronaut.jpg")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == str(photos / "astronaut.jpg")
    assert lines[1].split() == ["face", "box:", "x,", "y,", "width", "x", "height", "emotion", "probability"]
    number, *_, emotion, share, percent = lines[2].split()
    assert (number, percent) == ("1", "%")
    assert emotion in EXPRESSIONS
    assert 100 / 7 < float(share) <= 100


def test_a_folder_gives_json_csv_and_copies_and_broken_files_do_not_stop_it(predict, photos, tmp_path):
    files = tmp_path / "faces.json", tmp_path / "faces.csv"
    ended = predict(photos, "--json", files[0], "--csv", files[1], "--annotate", tmp_path / "copies")
    assert ended.code == 1
    assert ended.err.splitlines() == [
        f"error: {photos / 'broken.jpg'}: broken or cut off JPEG: image file is truncated "
        + ended.err.strip().partition("truncated ")[2]
    ]
    assert "pictures: 4, faces: 2, unreadable: 1" in ended.out
    results = json.loads(files[0].read_text())
    names = ["astronaut.jpg", "below/astronaut.webp", "broken.jpg", "coffee.PNG"]
    assert [entry["path"] for entry in results] == [str(photos / name) for name in names]
    whole, small, broken, empty = results
    assert broken["faces"] == []
    assert "broken or cut off JPEG" in broken["error"]
    assert empty["faces"] == []
    assert "--no-detect" in empty["note"]
    assert "--detector centerface" in empty["note"]
    assert (whole["width"], whole["height"]) == (512, 512)
    for entry, scale in ((whole, 1), (small, 300 / 512)):
        (face,) = entry["faces"]
        assert np.allclose(np.array(face["box"]) / scale, (170, 66, 108, 108), atol=12)
        assert list(face["probabilities"]) == list(EXPRESSIONS)
        assert face["confidence"] == max(face["probabilities"].values())
    with files[1].open() as file:
        table = list(csv.DictReader(file))
    assert [row["path"] for row in table] == [str(photos / "astronaut.jpg"), str(photos / "below" / "astronaut.webp")]
    assert float(table[0]["x"]) == whole["faces"][0]["box"][0]
    copies = sorted(str(file.relative_to(tmp_path / "copies")) for file in (tmp_path / "copies").rglob("*.*"))
    assert copies == ["astronaut.jpg", "below/astronaut.png", "coffee.png"]
    with Image.open(tmp_path / "copies" / "astronaut.jpg") as copy:
        assert copy.size == (512, 512)


def test_no_face_is_a_normal_answer(predict, photos):
    ended = predict(photos / "coffee.PNG")
    assert (ended.code, ended.err) == (0, "")
    assert "no face found" in ended.out
    assert "--no-detect" in ended.out
    assert "--detector centerface" in ended.out


def test_without_detection_each_picture_is_a_face(predict, photos, tmp_path):
    ended = predict(photos / "coffee.PNG", "--no-detect", "--json", tmp_path / "faces.json")
    assert ended.code == 0
    (entry,) = json.loads((tmp_path / "faces.json").read_text())
    assert entry["faces"][0]["box"] == [0, 0, 600, 400]
    assert "score" not in entry["faces"][0]


def test_processes_give_what_one_process_gives(predict, photos, tmp_path):
    for jobs in (1, 2):
        assert predict(photos, "--jobs", jobs, "--json", tmp_path / f"{jobs}.json").code == 1
    assert (tmp_path / "1.json").read_text() == (tmp_path / "2.json").read_text()


def test_damaged_exif_does_not_matter(predict, tmp_path):
    damaged = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x05\0\0"
    for number in range(2):
        Image.fromarray(data.coffee()).save(tmp_path / f"{number}.jpg", exif=damaged)
    for jobs in (1, 2):
        ended = predict(tmp_path, "--jobs", jobs)
        assert (ended.code, ended.err) == (0, "")


def test_standard_input_is_read(photos, random_weights):
    command = [sys.executable, "-m", "fer_lightning.predict", "-", "--weights", str(random_weights[0])]
    content = (photos / "astronaut.jpg").read_bytes()
    ended = subprocess.run(command, input=content, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == b""
    assert ended.stdout.startswith(b"-\n  face")


def test_paths_are_files_folders_and_patterns_each_once(photos):
    whole = [photos / name for name in ("astronaut.jpg", "below/astronaut.webp", "broken.jpg", "coffee.PNG")]
    assert list(media_of([str(photos)])) == [str(path) for path in whole]
    assert list(media_of([f"{photos}/*.jpg"])) == [str(whole[0]), str(whole[2])]
    assert list(media_of([f"{photos}/**/astronaut.*"])) == [str(whole[0]), str(whole[1])]
    assert list(media_of([str(whole[2]), str(photos), "-"])) == [str(whole[number]) for number in (2, 0, 1, 3)] + ["-"]
    assert list(media_of([str(photos)], without=photos / "below")) == [str(whole[number]) for number in (0, 2, 3)]
    assert list(media_of([str(photos / "notes.txt")])) == [str(photos / "notes.txt")]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    (tmp_path / "a[1].jpg").write_bytes(b"")
    assert list(media_of([str(tmp_path / "a[1].jpg")])) == [str(tmp_path / "a[1].jpg")]


def test_copies_have_names_of_their_own(tmp_path):
    pictures = {"a/x.jpg": Path("x.jpg"), "b/x.jpg": Path("x.jpg"), "x.gif": Path("x.gif"), "x.png": Path("x.png")}
    copies = copies_of(pictures, set(), tmp_path)
    assert [path.name for path in copies.values()] == ["x.jpg", "x-2.jpg", "x.png", "x-2.png"]


def test_a_copy_never_replaces_a_photo(predict, photos):
    before = (photos / "astronaut.jpg").read_bytes()
    ended = predict(photos / "astronaut.jpg", "--annotate", photos)
    assert ended.code == 2
    assert "would replace one of the originals" in ended.err
    assert (photos / "astronaut.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "PATH"),
        (["nothing.jpg"], "nothing.jpg: no such file or folder"),
        (["nothing*.jpg"], "no file matches this pattern"),
        (["{empty}"], "no photos or videos in this folder"),
        (["{photo}", "--detector", "haar"], "--detector: invalid choice: 'haar'"),
        (["{photo}", "--tta", "ten"], "--tta: invalid choice"),
        (["{photo}", "--min-face-score", "high"], "--min-face-score: invalid float"),
        (["{photo}", "--min-face-score", "-1"], "expected 0 or more"),
        (["{photo}", "--jobs", "0"], "--jobs: 0: expected a whole number from 1 on"),
        (["{photo}", "--json", "{empty}"], "a folder; give the name of a file"),
        (["{photo}", "--json", "{empty}/none/faces.json"], "there is no folder"),
        (["{photo}", "--annotate", "{photo}"], "a file; give the name of a folder"),
        (["{photo}", "--weights", "none.ckpt"], "--weights none.ckpt: no such file"),
        (["{photo}", "--weights", "{photo}"], "astronaut.jpg: not a checkpoint"),
        (["{photo}", "--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_what_cannot_be_used_gets_one_line(run_command, photos, tmp_path, arguments, message):
    given = [one.format(photo=photos / "astronaut.jpg", empty=tmp_path) for one in arguments]
    ended = run_command("predict", *given)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_kept_where_new_ones_cannot_be_written(predict, photos, tmp_path):
    file = tmp_path / "faces.json"
    assert predict(photos / "coffee.PNG", "--json", file).code == 0
    before = file.read_text()
    assert predict(photos / "coffee.PNG", "--json", file, "--min-face-score", "nan").code == 2
    assert file.read_text() == before


def test_ctrl_c_writes_what_was_done(photos, random_weights, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    image = Image.fromarray(data.astronaut())
    for number in range(300):
        image.save(many / f"{number:03}.jpg")
    command = [sys.executable, "-u", "-m", "fer_lightning.predict", many, "--weights", random_weights[0]]
    command += ["--json", tmp_path / "faces.json", "--jobs", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(str(many))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 128 + signal.SIGINT
    done = json.loads((tmp_path / "faces.json").read_text())
    assert 1 <= len(done) < 300
    assert err == f"stopped by SIGINT after {len(done)} of 300 pictures\n"


def test_help_and_errors_load_nothing_heavy():
    code = (
        "import sys; from fer_lightning.predict import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'PIL', 'hydra', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for option in ("--json", "--csv", "--annotate", "--no-detect", "--detector", "--min-face-score", "--weights"):
        assert option in ended.stdout
    for option in ("--tta", "--runtime", "--device", "--jobs"):
        assert option in ended.stdout


def test_the_defaults_of_help_are_those_of_the_detectors(capsys):
    from fer_lightning.predict import main
    from fer_lightning.recognition.detectors import DEFAULT_SCORES

    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for value in DEFAULT_SCORES.values():
        assert f"(default {value:g})" in text


def test_the_bundled_weights_are_used_where_none_are_given(bundled_weights, run_command, photos, tmp_path):
    ended = run_command("predict", photos / "astronaut.jpg", "--json", tmp_path / "faces.json")
    assert ended.code == 0, ended.err
    assert "happy" in ended.out
    assert json.loads((tmp_path / "faces.json").read_text())[0]["faces"][0]["emotion"] == "happy"


def test_exif_and_json_boxes_are_in_the_upright_picture(predict, photos, tmp_path):
    image = Image.fromarray(data.astronaut()[:400])
    exif = Image.Exif()
    exif[274] = 6
    content = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(content, "JPEG", exif=exif, quality=95)
    (tmp_path / "turned.jpg").write_bytes(content.getvalue())
    assert predict(tmp_path / "turned.jpg", "--json", tmp_path / "faces.json").code == 0
    (entry,) = json.loads((tmp_path / "faces.json").read_text())
    assert (entry["width"], entry["height"]) == (512, 400)
    assert np.allclose(entry["faces"][0]["box"], (170, 66, 108, 108), atol=12)
