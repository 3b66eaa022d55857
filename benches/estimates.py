#!/usr/bin/env python3
"""Predicted and real seconds of several kinds of jobs, after one calibrating run: what `lastmile plan` says beside what the job then takes.

    cargo build --release
    python3 benches/estimates.py [target/release/lastmile]

Needs nothing but Python and an installed runtime (`lastmile runtime install`). All files are made from examples/ and go when it ends; the
home with its measurements is a new one, so that nothing is known before the calibrating run. Takes about two minutes on two cores.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = str(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/lastmile").resolve())


def lastmile(*args):
    """The events of a run."""
    done = subprocess.run([PROGRAM, *map(str, args), "--json", "-"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{args}: exit {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def seconds(event, *args):
    return next(e["seconds"] for e in lastmile(*args) if e.get("event") == event)


def pictures(to, scale, form, names=("street.png", "study.jpg", "drawing.png", "sky.png")):
    """The examples in another size and format."""
    to.mkdir(parents=True)
    for name in names:
        lastmile("upscale", ROOT / "examples" / name, "-o", to / f"{pathlib.Path(name).stem}.{form}", "--model", "none", "--scale", scale)
    shutil.rmtree(to / ".lastmile", ignore_errors=True)


def main():
    # The runtime of the user's home serves; its measurements do not.
    show = subprocess.run([PROGRAM, "doctor", "--json", "-"], capture_output=True, text=True).stdout
    runtime = os.environ.get("ORT_DYLIB_PATH") or json.loads(show.splitlines()[0]).get("runtime", {}).get("path")
    work = pathlib.Path(tempfile.mkdtemp(prefix="lastmile-estimates-"))
    os.environ["LASTMILE_HOME"] = str(work / "home")
    if runtime:
        os.environ["ORT_DYLIB_PATH"] = runtime
    try:
        first, jpegs, small, large = work / "first", work / "jpegs", work / "small", work / "large"
        pictures(first, 2.6, "jpg", ("street.png", "study.jpg"))
        pictures(jpegs, 2, "jpg")
        pictures(large, 5, "jpg")
        pictures(work / "tiny", 0.15, "png", ("street.png", "table.png"))
        small.mkdir()
        for i in range(300):
            shutil.copy(sorted((work / "tiny").glob("*.png"))[i % 2], small / f"{i:03}.png")
        look = work / "film.recipe.toml"
        look.write_text('[look]\nlook = "warm-film"\n')
        jobs = [
            ("four JPEGs, x4 to PNG", ["upscale", jpegs]),
            ("the same to JPEG", ["upscale", jpegs, "--format", "jpeg"]),
            ("the same to lossy WebP", ["upscale", jpegs, "--format", "webp"]),
            ("the same to 16-bit TIFF", ["upscale", jpegs, "--format", "tiff", "--depth", "16"]),
            ("the same with a look", ["run", look, jpegs]),
            ("the same, inspected", ["upscale", jpegs, "--inspect"]),
            ("300 small PNGs, x4", ["upscale", small]),
            ("four of 3 MPix, twice as large without a network, to PNG", ["upscale", large, "--model", "none", "--scale", "2", "--format", "png"]),
        ]
        lastmile("upscale", first, "-o", work / "out-first", "--format", "png")
        print(f"{'job':60} predicted   real  predicted/real")
        missed = 0

        def tell(name, predicted, real):
            nonlocal missed
            ratio = predicted / real
            missed += not 0.8 <= ratio <= 1.25
            print(f"{name:60} {predicted:7.2f} s {real:6.2f} s  {ratio:.2f}", flush=True)

        for i, (name, args) in enumerate(jobs):
            args = [*args, "-o", work / f"out-{i}"]
            tell(name, seconds("plan", "plan", *args), seconds("end", *args))
            shutil.rmtree(work / f"out-{i}")
        kept = work / "out-kept"
        lastmile("upscale", jpegs, "-o", kept, "--keep-master")
        again = ["upscale", jpegs, "-o", kept, "--keep-master", "--format", "jpeg", "--quality", "80"]
        tell("four JPEGs from kept masters, to JPEG", seconds("plan", "plan", *again), seconds("end", *again))
        return missed
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit("outside 0.8 to 1.25" if main() else 0)
