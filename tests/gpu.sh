#!/usr/bin/env bash
# Upscales and grades on a real GPU, prints rates, compares with the processor and fails on a silent fallback to it.
#
#   tests/gpu.sh [DEVICE] [FOLDER]     DEVICE: cuda (default), tensorrt, webgpu, directml, coreml ...; FOLDER: pictures
#
# DEVICE `none` leaves the networks out and only grades. Grading needs a driver for Vulkan, Metal or Direct3D 12 whatever DEVICE is.
#
# Not part of `cargo test`: it needs the hardware. For cuda run `lastmile runtime install cuda` first (CUDA 13, cuDNN 9), for
# webgpu `lastmile runtime install webgpu`. Needs python3 with numpy and Pillow for the comparison.
set -euo pipefail
cd "$(dirname "$0")/.."
device=${1:-cuda}
pictures=${2:-examples}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --quiet
lastmile=target/release/lastmile

fail() { echo "FAILED: $*" >&2; exit 1; }

# -------------------------------------------------------------------------------------------------------------- grading
echo "== grading: every operation on the card against the processor"
REQUIRE_GPU=1 cargo test --release --quiet --test grade_gpu || fail "the card and the processor disagree"

grade() { # grade ON OUT LOOK EXTRA...
  local on=$1 out=$2 look=$3
  shift 3
  "$lastmile" grade "$pictures" -o "$out" --look "$look" --grade-device "$on" --dither off --format png --overwrite \
    --json "$out.jsonl" "$@" >/dev/null
}
cat >"$work/all.toml" <<'L'
[[op]]
type = "exposure"
stops = 0.3
[[op]]
type = "hsl"
blue = [10, 1.2, -0.05]
[[op]]
type = "clarity"
amount = 0.3
[[op]]
type = "grain"
amount = 0.03
[[op]]
type = "vignette"
stops = 0.7
L
cat >"$work/filter.wgsl" <<'L'
fn filter(c: vec3<f32>, p: Params, pos: vec2<f32>) -> vec3<f32> {
    return mix(c, c.zyx, p.much);
}
L
printf '[[op]]\nfilter = "filter.wgsl"\nparams = { much = 0.5 }\n' >"$work/filter.toml"
# `gpu` is the first adapter that is hardware; where there is none this is exit code 5, and the test fails.
grade gpu "$work/g-gpu" "$work/all.toml" || fail "no graphics card for grading (lastmile doctor)"
grade cpu "$work/g-cpu" "$work/all.toml"
grade gpu "$work/g-filter" "$work/filter.toml"
LASTMILE_HOME="$work/home" grade auto "$work/g-auto" warm-film -v
grade cpu "$work/g-auto-cpu" warm-film
if grade cpu "$work/g-none" "$work/filter.toml" 2>/dev/null; then fail "a filter ran on the processor"; fi
cat "$work/home/bench.json"
python3 - "$work" <<'P' || fail "see above"
import json, pathlib, sys
import numpy as np
from PIL import Image

work, bad = pathlib.Path(sys.argv[1]), 0
def lines(run):
    return [json.loads(line) for line in open(work / f"{run}.jsonl")]
for run, want in (("g-gpu", "gpu:"), ("g-filter", "gpu:"), ("g-auto", ""), ("g-cpu", "cpu")):
    start = next(l for l in lines(run) if l["event"] == "start")
    end = next(l for l in lines(run) if l["event"] == "end")
    print(f"   {run}: graded on {start['grade_device']}, {end['done']} done in {end['seconds']:.2f} s")
    bad |= not start["grade_device"].startswith(want) or "software" in start["grade_device"] or end["failed"] > 0 or not end["done"]

def worst(a, b):
    most, count = 0, 0
    for path in sorted((work / a).rglob("*.png")):
        one = np.asarray(Image.open(path)).astype(int)
        two = np.asarray(Image.open(work / b / path.relative_to(work / a))).astype(int)
        most, count = max(most, int(np.abs(one - two).max())), count + 1
    print(f"   {a} and {b}: {count} pictures, at most {most} levels apart (allowed 1)")
    return most > 1 or not count
bad |= worst("g-gpu", "g-cpu") | worst("g-auto", "g-auto-cpu")
sys.exit(bad)
P
if [ "$device" = none ]; then echo "passed: grading"; exit 0; fi

# ------------------------------------------------------------------------------------------------------------- networks

echo "== devices"
"$lastmile" doctor --json "$work/doctor.json" || fail "no ONNX Runtime: lastmile runtime install"
python3 - "$work/doctor.json" "$device" <<'P' || fail "$device does not work here (lastmile doctor)"
import json, sys
found = json.loads(open(sys.argv[1]).read())
for d in found["devices"]:
    print(f"   {d['device']:<9} {'works' if d['works'] else d['why_not']}")
name = sys.argv[2].split(":")[0]
sys.exit(0 if any(d["works"] and d["device"].split(":")[0] == name for d in found["devices"]) else 1)
P

# The first run also pays for loading and, with TensorRT, for building engines: it is not timed.
run() { # run DEVICE OUT EXTRA...
  local on=$1 out=$2
  shift 2
  "$lastmile" upscale "$pictures" -o "$out" --device "$on" --overwrite --json "$out.jsonl" "$@" >/dev/null
}
echo "== warm up"
run "$device" "$work/warm" --precision fp32
echo "== timed"
run "$device" "$work/gpu" --precision fp32
run "$device" "$work/half" --precision auto
run cpu "$work/cpu" --precision fp32

python3 - "$work" "$device" <<'P' || fail "see above"
import json, pathlib, sys
import numpy as np
from PIL import Image

work, asked = pathlib.Path(sys.argv[1]), sys.argv[2]
bad = 0
rate = {}
for run in ("gpu", "half", "cpu"):
    lines = [json.loads(line) for line in open(work / f"{run}.jsonl")]
    files = [l for l in lines if l["event"] == "file"]
    end = next(l for l in lines if l["event"] == "end")
    if end["failed"] or not files:
        print(f"   {run}: {end['failed']} of {len(files)} files failed")
        bad = 1
    pixels = sum(l["width"] * l["height"] for l in files if l["status"] == "done") / 1e6
    rate[run] = pixels / max(end["seconds"], 1e-3)
    # A run that was asked for a GPU and reports the processor (or nothing) is the one thing that must never happen.
    want = "cpu" if run == "cpu" else asked.split(":")[0]
    for l in files:
        if str(l.get("device", "")).split(":")[0] != want:
            print(f"   {run}: {l['input']} ran on {l.get('device')!r}, asked for {want}")
            bad = 1
for run, value in rate.items():
    print(f"   {run:<5} {value:8.2f} MPix/s out")
if rate["gpu"] < rate["cpu"]:
    print("   slower than the processor: too few or too small pictures, or not the device it claims to be")

def pictures(folder):
    return {p.relative_to(folder): p for p in sorted(folder.rglob("*.png"))}

cpu = pictures(work / "cpu")
for run, limit in (("gpu", 1), ("half", 4)):
    other = pictures(work / run)
    if other.keys() != cpu.keys() or not cpu:
        print(f"   {run}: other files than on the processor")
        bad = 1
        continue
    worst = 0.0
    for name, path in cpu.items():
        a, b = (np.asarray(Image.open(f)) for f in (path, other[name]))
        levels = 257.0 if a.dtype == np.uint16 or a.max() > 255 else 1.0
        worst = max(worst, float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max() / levels) if a.shape == b.shape else 255.0)
    print(f"   {run:<5} differs from the processor by at most {worst:.2f} levels of 255 (allowed {limit})")
    bad |= worst > limit
sys.exit(bad)
P
echo "passed on $device"
