"""The command `predict` with videos and a camera."""

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
from small_videos import scene, write_video

from fer_lightning import EXPRESSIONS
from fer_lightning.errors import InputError
from fer_lightning.recognition import cameras
from fer_lightning.recognition.cameras import Device, device_of
from fer_lightning.recognition.face_table import VIDEO_COLUMNS
from fer_lightning.recognition.media_paths import copies_of, is_video_file, media_of
from fer_lightning.recognition.video_files import open_video

pytest.importorskip("av")

PLACES = [None if 2 <= number <= 3 else (20 + 8 * number, 60) for number in range(8)]
"""Of the astronaut, in ten frames a second."""


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """A folder: two videos with a face, of the same stem; one without; a photo; a broken video."""
    folder = tmp_path_factory.mktemp("media")
    frames = [scene(place) for place in PLACES]
    write_video(folder / "clip.mp4", frames)
    write_video(folder / "clip.webm", frames[:2], codec="libvpx")
    write_video(folder / "empty.mkv", [scene()] * 3)
    Image.fromarray(data.astronaut()).save(folder / "clip.png")
    (folder / "broken.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def predict(run_command, random_weights):
    def run(*arguments: object):
        return run_command("predict", *arguments, "--weights", random_weights[0], "--jobs", 1)

    return run


def test_a_video_gives_a_row_for_each_face(predict, media):
    ended = predict(media / "clip.mp4")
    assert (ended.code, ended.err) == (0, "")
    title, heads, row = ended.out.splitlines()
    assert title == f"{media / 'clip.mp4'}: 0.8 s, 8 frames, 1 face"
    assert heads.split() == ["face", "from", "to", "seen", "mostly", "of", "the", "time", "mean", "probability"]
    number, first, _, last, _, seen, _, emotion, share, _, mean, _ = row.split()
    assert (number, first, last, seen) == ("1", "0.0", "0.7", "0.6")
    assert emotion in EXPRESSIONS
    assert 100 / 7 < float(share) <= 100
    assert 100 / 7 < float(mean) <= 100


def test_a_folder_of_photos_and_videos_gives_tables_and_copies(predict, media, tmp_path):
    files = tmp_path / "faces.json", tmp_path / "faces.csv"
    ended = predict(media, "--json", files[0], "--csv", files[1], "--annotate", tmp_path / "copies")
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith(f"error: {media / 'broken.mp4'}: a broken or cut off video, or no video")
    assert "pictures and videos: 5, faces: 3, unreadable: 1" in ended.out
    assert f"{media / 'empty.mkv'}: 0.3 s, 3 frames: no face found" in ended.out
    broken, clip, photo, short, empty = json.loads(files[0].read_text())
    assert (broken["faces"], empty["faces"], "note" in empty, "error" in broken) == ([], [], True, True)
    assert (clip["width"], clip["height"], clip["frames"], clip["seconds"]) == (480, 320, 8, 0.8)
    assert [face["frame"] for face in clip["faces"]] == [number for number, place in enumerate(PLACES) if place]
    assert [face["seconds"] for face in clip["faces"]] == [face["frame"] / 10 for face in clip["faces"]]
    assert {face["id"] for face in clip["faces"]} == {1}
    assert "frame" not in photo["faces"][0]
    assert len(short["faces"]) == 2
    with files[1].open() as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == VIDEO_COLUMNS
    assert len(table) == 6 + 1 + 2
    for row, face in zip(table[:6], clip["faces"], strict=True):
        assert (int(row["frame"]), float(row["seconds"]), int(row["face"])) == (face["frame"], face["seconds"], 1)
        assert [float(row[side]) for side in ("x", "y", "width", "height")] == face["box"]
        assert {name: float(row[name]) for name in EXPRESSIONS} == face["probabilities"]
    assert (table[6]["path"], table[6]["frame"], table[6]["face"]) == (str(media / "clip.png"), "", "1")
    names = ["clip-2.mp4", "clip-2-timeline.png", "clip.mp4", "clip.png", "clip-timeline.png", "empty.mp4"]
    assert sorted(file.name for file in (tmp_path / "copies").iterdir()) == sorted([*names, "empty-timeline.png"])
    with open_video(tmp_path / "copies" / "clip-2.mp4") as copy:
        assert sum(1 for _ in copy) == 2
    with Image.open(tmp_path / "copies" / "clip-timeline.png") as figure:
        assert figure.width > 600


def test_every_and_smooth_change_what_is_found(predict, media, tmp_path):
    found = []
    for name, options in (("all", []), ("third", ["--every", 3]), ("smooth", ["--smooth", 0.5])):
        assert predict(media / "clip.mp4", "--json", tmp_path / name, *options).code == 0
        found.append(json.loads((tmp_path / name).read_text())[0]["faces"])
    assert found[1] == [face for face in found[0] if face["frame"] % 3 == 0]
    raw, smooth = ([list(face["probabilities"].values()) for face in faces] for faces in (found[0], found[2]))
    share = 1 - np.exp(-0.1 / 0.5)
    np.testing.assert_allclose(smooth[1], np.array(raw[0]) + share * (np.array(raw[1]) - raw[0]), atol=2e-6)


def test_a_cut_off_video_keeps_what_was_read_and_fails(predict, media, tmp_path):
    numbers = np.random.default_rng(0)
    frames = [np.concatenate([scene((60, 40)), numbers.integers(0, 255, (160, 480, 3), np.uint8)]) for _ in range(4)]
    content = write_video(tmp_path / "whole.mkv", [frame for frame in frames for _ in range(12)], rate=2).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    ended = predict(tmp_path / "cut.mkv", "--every", 4, "--json", tmp_path / "faces.json", "--annotate", tmp_path / "c")
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'cut.mkv'}: broken or cut off after ")
    (entry,) = json.loads((tmp_path / "faces.json").read_text())
    assert len(entry["faces"]) > 0
    assert entry["error"].endswith("s of 24.0 s")
    assert (tmp_path / "c" / "cut.mp4").exists()


def test_what_is_a_video_is_told_by_its_content_else_by_its_name(media, tmp_path):
    (tmp_path / "video.jpg").write_bytes((media / "clip.mp4").read_bytes())
    (tmp_path / "photo.mp4").write_bytes((media / "clip.png").read_bytes())
    (tmp_path / "nothing.mp4").write_bytes(b"")
    Image.fromarray(scene()).save(tmp_path / "moving.gif", save_all=True, append_images=[Image.fromarray(scene())])
    Image.fromarray(scene()).save(tmp_path / "photo.webp")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    videos = {file.name for file in tmp_path.iterdir() if is_video_file(str(file))}
    assert videos == {"video.jpg", "nothing.mp4"}
    for codec, name in (("libvpx", "a.webm"), ("mpeg4", "a.avi"), ("libx264", "a.ts"), ("mpeg1video", "a.mpg")):
        file = write_video(tmp_path / name, [scene()] * 2, rate=25, codec=codec).rename(tmp_path / f"{name}.data")
        assert is_video_file(str(file)), name


def test_folders_give_photos_and_videos(media):
    names = [Path(name).name for name in media_of([str(media)])]
    assert names == ["broken.mp4", "clip.mp4", "clip.png", "clip.webm", "empty.mkv"]


def test_copies_of_videos_and_their_figures_have_names_of_their_own(tmp_path):
    names = ["a/x.mp4", "b/x.mkv", "x-timeline.png", "x.gif"]
    copies = copies_of({name: Path(Path(name).name) for name in names}, set(names[:2]), tmp_path)
    assert [path.name for path in copies.values()] == ["x.mp4", "x-2.mp4", "x-timeline-2.png", "x.png"]
    (tmp_path / "x.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="would replace one of the originals"):
        copies_of({str(tmp_path / "x.mp4"): Path("x.mp4")}, {str(tmp_path / "x.mp4")}, tmp_path)


def test_a_video_is_read_from_standard_input(predict, media, monkeypatch, tmp_path):
    content = (media / "clip.mp4").read_bytes()
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(content)}))
    ended = predict("-", "--annotate", tmp_path / "copies")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("-: 0.8 s, 8 frames, 1 face\n")
    assert sorted(file.name for file in (tmp_path / "copies").iterdir()) == ["stdin-timeline.png", "stdin.mp4"]


def test_without_the_package_one_line_says_what_to_install(predict, media, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    for arguments in ([media / "clip.mp4"], ["--camera", 0]):
        ended = predict(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "pip install 'fer_lightning[video]'" in ended.err
        assert ended.err.count("\n") == 1
    assert predict(media / "clip.png").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "0"], "--every: 0: expected a whole number from 1 on"),
        (["--smooth", "-1"], "--smooth: -1: expected seconds, 0 or more"),
        (["--smooth", "nan"], "--smooth: nan: expected seconds, 0 or more"),
        (["--camera", "0"], "give either a PATH or --camera"),
    ],
)
def test_options_that_cannot_be_used_get_one_line(run_command, media, arguments, message):
    ended = run_command("predict", media / "clip.mp4", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def camera_file(video: Path) -> Device:
    """A device of FFmpeg that shows a video at its own speed."""
    return Device(f"movie={video},realtime", "lavfi", {})


def test_a_camera_says_when_an_emotion_changes_and_leaves_what_a_video_does(predict, media, monkeypatch, tmp_path):
    monkeypatch.setattr(cameras, "device_of", lambda camera: camera_file(media / "clip.mp4"))
    ended = predict("--camera", 3, "--csv", tmp_path / "faces.csv", "--annotate", tmp_path / "copies")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "camera 3: 480 x 320; Ctrl-C ends"
    assert lines[1].split()[:4] == ["0.0", "s", "face", "1"]
    assert any(line.startswith("camera 3: 0.8 s, ") for line in lines)
    with (tmp_path / "faces.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {row["path"] for row in table} == {"camera 3"}
    told = [line.split()[4] for line in lines[1:] if " s   face " in line]
    changes = [
        row["emotion"]
        for row, before in zip(table, [{}, *table], strict=False)
        if row["emotion"] != before.get("emotion")
    ]
    assert told == changes
    assert sorted(file.name for file in (tmp_path / "copies").iterdir()) == ["camera-3-timeline.png", "camera-3.mp4"]


def test_a_camera_that_is_not_there_gets_one_line(predict, monkeypatch, tmp_path):
    if sys.platform == "linux":
        ended = predict("--camera", 97, "--csv", tmp_path / "faces.csv", "--annotate", tmp_path / "copies")
        assert ended.code == 2
        assert ended.err.startswith("error: --camera 97: no such camera (/dev/video97).")
        assert ended.err.count("\n") == 1
        assert not (tmp_path / "copies").exists()
    monkeypatch.setattr(cameras, "device_of", lambda camera: Device("0", "no_such_format", {}))
    assert "reads no cameras here" in predict("--camera", 0).err


def test_cameras_have_the_names_of_their_systems(monkeypatch):
    for system, name, form in (("linux", "/dev/video2", "v4l2"), ("darwin", "2", "avfoundation")):
        monkeypatch.setattr(sys, "platform", system)
        assert device_of("2")[:2] == (name, form)
    monkeypatch.setattr(sys, "platform", "win32")
    assert device_of("USB Camera")[:2] == ("video=USB Camera", "dshow")
    with pytest.raises(InputError, match="give its name"):
        device_of("2")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_camera_and_what_was_seen_is_written(name, random_weights, tmp_path):
    video = write_video(tmp_path / "long.mp4", [scene((60, 60))] * 2400, rate=10)
    code = (
        "import sys; from fer_lightning.recognition import cameras\n"
        "from fer_lightning.predict import main\n"
        f"cameras.device_of = lambda camera: cameras.Device('movie={video},realtime', 'lavfi', {{}})\n"
        "main(sys.argv[1:])"
    )
    out = tmp_path / "out"
    command = ["--camera", "0", "--weights", str(random_weights[0]), "--json", "faces.json", "--annotate", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "camera 0: 480 x 320; Ctrl-C ends\n"
    assert process.stdout.readline().split()[2:4] == ["face", "1"]
    began = time.monotonic()
    process.send_signal(signal.Signals[name])
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert time.monotonic() - began < 30
    (entry,) = json.loads((tmp_path / "faces.json").read_text())
    assert 1 <= len(entry["faces"]) <= entry["frames"]
    assert f"camera 0: {entry['seconds']:.1f} s" in rest
    with open_video(out / "camera-0.mp4") as copy:
        assert sum(1 for _ in copy) == entry["frames"]
        assert copy.problem is None
    assert sorted(file.name for file in out.iterdir()) == ["camera-0-timeline.png", "camera-0.mp4"]


def test_ctrl_c_leaves_nothing_half_written(media, random_weights, tmp_path):
    video = write_video(tmp_path / "long.mp4", [scene((60, 60))] * 600, rate=10)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fer_lightning.predict", media / "clip.mp4", video, "--weights", random_weights[0]]
    command += ["--annotate", out, "--csv", tmp_path / "faces.csv", "--jobs", 1]
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith(str(media / "clip.mp4"))
    deadline = time.monotonic() + 60
    while not list(out.glob(".long.mp4*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped by SIGINT after 1 of 2 videos\n")
    assert sorted(file.name for file in out.iterdir()) == ["clip-timeline.png", "clip.mp4"]
    with (tmp_path / "faces.csv").open() as file:
        assert {row["path"] for row in csv.DictReader(file)} == {str(media / "clip.mp4")}
