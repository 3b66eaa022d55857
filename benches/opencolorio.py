#!/usr/bin/env python3
"""Every LUT and CDL of a folder through lastmile and through OpenColorIO: the largest difference at 8 bits and in floating point.

  python3 benches/opencolorio.py target/release/lastmile ../shared/luts
Needs: opencolorio numpy opencv-python-headless (pip). What lastmile refuses is listed with its reason.
"""
import re, subprocess, sys, tempfile
from pathlib import Path
import cv2, numpy as np, PyOpenColorIO as oc

program, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
work = Path(tempfile.mkdtemp())
random = np.random.default_rng(1)
x8, x16 = (random.integers(0, m, (512, 512, 3)).astype(t) for m, t in ((256, np.uint8), (65536, np.uint16)))
x8[0], x16[0] = (np.arange(512) // 2)[:, None], (np.arange(512) * 128)[:, None]
cv2.imwrite(str(work / "8.png"), x8[..., ::-1])
cv2.imwrite(str(work / "16.png"), x16[..., ::-1])
U8, F32 = oc.BIT_DEPTH_UINT8, oc.BIT_DEPTH_F32

def ours(bits, flag, spec):
    command = [program, "grade", f"{bits}.png", "-o", f"o{bits}.png", "--overwrite", flag, spec, "--dither", "off", "-q"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[0])
    return cv2.imread(str(work / f"o{bits}.png"), -1)[..., ::-1]

def theirs(processor, pixels, depth, how):
    pixels = pixels.copy()
    size, (h, w, _) = pixels.itemsize, pixels.shape
    processor.getOptimizedCPUProcessor(depth, depth, how).apply(oc.PackedImageDesc(pixels, w, h, 3, depth, size, 3 * size, 3 * size * w))
    return pixels

compared, most, refused, unread = 0, [0, 0.0], [], []
for path in sorted(p.resolve() for p in folder.iterdir() if p.suffix in (".cube", ".cc", ".ccc", ".cdl")):
    flag = "--lut" if path.suffix == ".cube" else "--cdl"
    ids = re.findall(r'<ColorCorrection id="([^"]+)"', path.read_text()) if path.suffix in (".ccc", ".cdl") else [None]
    for which in ids or [None]:
        spec = str(path) if which is None else f"{path}#{which}"
        try:
            codes, values = ours(8, flag, spec).astype(int), ours(16, flag, spec) / 65535
        except ValueError as e:
            refused.append(str(e))
            continue
        transform = oc.FileTransform(str(path), interpolation=oc.INTERP_TETRAHEDRAL)
        if which is not None:
            transform.setCCCId(which)
        try:
            processor = oc.Config.CreateRaw().getProcessor(transform)
        except oc.Exception as e:
            unread.append(f"{path.name}: {str(e)[:80]}")
            continue
        a = int(abs(theirs(processor, x8, U8, oc.OPTIMIZATION_DEFAULT).astype(int) - codes).max())
        b = float(abs(np.clip(theirs(processor, x16.astype(np.float32) / 65535, F32, oc.OPTIMIZATION_LOSSLESS), 0, 1) - values).max())
        compared, most = compared + 1, [max(most[0], a), max(most[1], b)]
        if a > 1 or b > 1e-4:
            print(f"TOO FAR {spec}: {a} codes, {b:.1e}")
print(f"{compared} compared: at most {most[0]} codes of 255 at 8 bits, {most[1]:.1e} in floating point")
print(*(f"refused: {r}" for r in refused), *(f"OpenColorIO cannot read: {u}" for u in unread), sep="\n")
