"""The page's answers, cards and command line, without a browser and without gradio."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fer_lightning import EXPRESSIONS, Recognizer
from fer_lightning.demo_page.cards import SHOWN, face_cards, message
from fer_lightning.demo_page.examples import write_examples
from fer_lightning.demo_page.model_cards import cards_of
from fer_lightning.demo_page.readings import KEPT, WHOLE, Reader
from fer_lightning.demo_page.server import bind, is_this_machine, private_folder
from fer_lightning.errors import InputError
from fer_lightning.networks.onnx_files import write_onnx
from fer_lightning.networks.weight_files import load_network
from fer_lightning.recognition.face_finder import FaceFinder
from fer_lightning.recognition.recognizer import Face


@pytest.fixture(scope="module")
def reader(random_weights):
    with private_folder():
        yield Reader([random_weights[0]], device="cpu")


def face(emotion: str, **values) -> Face:
    probabilities = dict.fromkeys(EXPRESSIONS, 0.05) | {emotion: 0.7}
    return Face((1, 2, 3, 4), emotion, 0.7, probabilities, **values)


def test_a_reading_is_what_the_recognizer_says(reader, random_weights):
    reading = reader.read(data.astronaut(), "cascade")
    assert reading.faces == Recognizer.load(random_weights[0], device="cpu").predict(data.astronaut())
    assert reading.data == [one.as_dict() for one in reading.faces]
    assert reading.picture.size == (512, 512)
    assert reading.heat.shape == reading.crops.shape == (1, 48, 48)
    for name, probability in reading.faces[0].probabilities.items():
        assert f'<th scope="row">{name}</th>' in reading.cards
        assert f"{100 * probability:.1f} %" in reading.cards


def test_the_picture_may_be_one_face(reader):
    reading = reader.read(data.coffee(), WHOLE)
    assert [one.box for one in reading.faces] == [(0, 0, 600, 400)]


def test_a_picture_without_faces_and_a_broken_one(reader, tmp_path):
    assert reader.read(data.coffee(), "cascade").faces == []
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="broken or cut off JPEG"):
        reader.read(tmp_path / "broken.jpg", "cascade")


def test_a_card_of_each_face_has_seven_bars_and_two_pictures():
    crops, heat = np.zeros((2, 48, 48), np.uint8), np.ones((2, 48, 48), np.float32)
    html = face_cards([face("happy"), face("sad")], crops, heat, None)
    assert html.count("<article") == 2
    assert html.count('class="bar"') == 14
    assert html.count("data:image/png") == 4
    assert "width:70.0%" in html


def test_cards_without_grad_cam_say_why():
    html = face_cards([face("happy")], np.zeros((1, 48, 48), np.uint8), None, "no <conv> layer")
    assert html.count("data:image/png") == 1
    assert "no &lt;conv&gt; layer" in html


def test_of_a_crowd_the_first_faces_get_cards():
    count = SHOWN + 3
    html = face_cards([face("happy")] * count, np.zeros((count, 48, 48), np.uint8), None, None)
    assert html.count("<article") == SHOWN
    assert "3 more faces" in html


def test_messages_are_text():
    assert "&lt;script&gt;" in message("<script>alert(1)</script>.jpg: broken", kind="error")


def test_examples_are_found_by_the_cascade(tmp_path):
    finder = FaceFinder("cascade")
    assert [len(finder.find(path).boxes) for path in write_examples(tmp_path)] == [1, 4, 1]


def test_the_model_card_of_the_bundled_network_is_whole_and_has_no_dead_links(bundled_weights):
    card = cards_of([])
    for words in ("# Model card", "## Limits", "article 5(1)(f)", "Wilson"):
        assert words in card
    assert "](results" not in card
    assert "](../" not in card


def test_other_weights_have_a_card_of_what_their_file_tells(random_weights, tmp_path):
    faces = np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8)
    write_onnx(tmp_path / "a.onnx", load_network(random_weights[0]), {}, [faces])
    card = cards_of([str(random_weights[0]), str(tmp_path / "a.onnx")])
    assert card.count("`conv_deep`") == 2
    assert "# random0.safetensors" in card
    assert "# a.onnx" in card
    assert "Wilson" not in card


def test_only_this_machine_may_be_reached():
    assert all(map(is_this_machine, ["127.0.0.1", "127.8.0.1", "localhost", b"::1"]))
    assert not any(map(is_this_machine, ["8.8.8.8", "example.com", "10.0.0.1", "localhost.example.com", b"0.0.0.0"]))


GUARDED = """
import socket, urllib.request
from fer_lightning.demo_page.server import refuse_connections
server = socket.create_server(("127.0.0.1", 0))
refuse_connections()
socket.create_connection(server.getsockname()).close()
for attempt in (
    lambda: socket.socket().connect(("192.0.2.1", 80)),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    lambda: socket.getaddrinfo("example.com", 443),
    lambda: urllib.request.urlopen("https://example.com/"),
):
    try:
        attempt()
    except OSError as error:
        assert "nothing outside this machine" in str(error), error
    else:
        raise SystemExit("it went out")
"""


def test_connections_that_leave_the_machine_are_refused():
    ended = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_folder_is_private_and_goes():
    before = tempfile.gettempdir()
    with private_folder() as folder:
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        assert tempfile.gettempdir() == folder
        (Path(folder) / "deep").mkdir()
        Image.fromarray(data.coffee()).save(Path(folder) / "deep" / "a.png")
    assert not Path(folder).exists()
    assert tempfile.gettempdir() == before


def test_a_port_that_is_taken_gets_one_line(run_command):
    with bind(0) as taken:
        port = taken.getsockname()[1]
        ended = run_command("demo", "--port", port)
    assert (ended.code, ended.out) == (2, "")
    assert (
        ended.err == f"error: --port {port}: in use by another program; --port N takes another, --port 0 any free one\n"
    )
    with bind(port) as again:
        assert again.getsockname() == ("127.0.0.1", port)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port: 70000: expected a number from 0 to 65535"),
        (["--port", "http"], "--port: http: expected a number"),
        (["--weights", "none.ckpt"], "--weights none.ckpt: no such file"),
        (["--detector", "haar"], "--detector: invalid choice: 'haar'"),
        (["photo.jpg"], "unrecognized arguments: photo.jpg"),
    ],
)
def test_what_cannot_be_used_gets_one_line(run_command, arguments, message):
    ended = run_command("demo", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


def test_without_gradio_one_line_says_how_to_install_it(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('No module named gradio')")
    command = [sys.executable, "-m", "fer_lightning.demo", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: the page needs gradio (No module named gradio): pip install 'fer_lightning[demo]'\n"
    )


def test_help_loads_nothing_heavy():
    code = "import sys, fer_lightning.demo as demo; demo.parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "gradio", "numpy", "matplotlib", "PIL"} & set(loaded)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Half a second of the astronaut."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("video") / "astronaut.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        astronaut = Image.fromarray(data.astronaut()).resize((256, 256))
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame.from_image(astronaut)))
        container.mux(stream.encode(None))
    return str(path)


def test_a_video_gives_a_copy_a_figure_and_a_table(reader, video):
    told = []
    reading = reader.read_video(video, "cascade", every=2, on_progress=lambda done, length: told.append((done, length)))
    assert [face.frame for face in reading.timeline] == [0, 2, 4]
    assert reading.copy.name == "astronaut-faces.mp4"
    with Image.open(reading.figure) as figure:
        assert figure.format == "PNG"
    assert reading.table.read_text().splitlines()[0].startswith("path,frame,seconds,face,")
    assert f"{reading.timeline[0].emotion}</td>" in reading.summary
    assert len(told) == 6
    assert all(length == pytest.approx(0.5, abs=0.1) for _, length in told)


def test_results_of_earlier_videos_are_deleted(reader, video):
    folders = [reader.read_video(video, "cascade", every=6).copy.parent for _ in range(KEPT + 1)]
    assert [folder.exists() for folder in folders] == [False] + [True] * KEPT


def test_a_stopped_page_reads_no_video_on(random_weights, video):
    reader = Reader([random_weights[0]], device="cpu")
    reader.stop()
    with private_folder(), pytest.raises(InputError, match="stopped"):
        reader.read_video(video, "cascade")
