#!/usr/bin/env python3
"""Score ONNX super-resolution models on folders of pictures, as a Markdown table.

  score.py --folders Set5 Set14 Urban100 [--speed-only | --no-speed] MODEL.onnx ...

Per folder: gain in PSNR-Y and SSIM-Y over Pillow's bicubic enlargement. Low-resolution input is Pillow's bicubic
reduction; further columns use a Lanczos reduction and a JPEG-85 copy of the bicubic one (each against the bicubic
enlargement of that same input). Y is BT.601, 16..235; `scale` pixels are cut off each border.
Consistency: PSNR of the output, reduced by bicubic, against the input. Speed: ONNX Runtime, one thread, no spinning.
"""
import argparse
import glob
import io
import math
import os
import time

import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image


def luma(a):
    return a.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def psnr(a, b):
    return 10 * math.log10(255 ** 2 / max(((a - b) ** 2).mean(), 1e-10))


def ssim(a, b):
    """Gaussian 11x11, sigma 1.5, valid region: as in the original paper."""
    g = np.exp(-(np.arange(11) - 5.0) ** 2 / (2 * 1.5 ** 2))
    g /= g.sum()

    def f(x):
        x = sum(w * x[i:x.shape[0] - 10 + i] for i, w in enumerate(g))
        return sum(w * x[:, i:x.shape[1] - 10 + i] for i, w in enumerate(g))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = f(a), f(b)
    va, vb, vab = f(a * a) - ma * ma, f(b * b) - mb * mb, f(a * b) - ma * mb
    return (((2 * ma * mb + c1) * (2 * vab + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean()


def session(path):
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    o.inter_op_num_threads = 1
    o.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return ort.InferenceSession(path, o, providers=['CPUExecutionProvider'])


def infer(s, lr):
    x = np.ascontiguousarray(np.asarray(lr, np.float32).transpose(2, 0, 1)[None] / 255)
    y = s.run(None, {s.get_inputs()[0].name: x})[0][0].transpose(1, 2, 0)
    return np.clip(y * 255 + 0.5, 0, 255).astype(np.uint8)  # what a file would hold


def jpeg(im, q=85):
    b = io.BytesIO()
    im.save(b, 'JPEG', quality=q)
    return Image.open(b).convert('RGB')


def scale_of(s):
    x = np.zeros((1, 3, 32, 32), np.float32)
    return s.run(None, {s.get_inputs()[0].name: x})[0].shape[2] // 32


def mflop(path):
    """Convolution operations per input pixel (2 per multiply-add), from the weights and the output sizes."""
    m = onnx.load(path)
    dims = {t.name: list(t.dims) for t in m.graph.initializer}
    for n in m.graph.node:  # half-precision weights arrive through a Cast
        if n.op_type == 'Cast' and n.input[0] in dims:
            dims[n.output[0]] = dims[n.input[0]]
    convs = [n for n in m.graph.node if n.op_type == 'Conv']
    for n in convs:
        m.graph.output.append(onnx.helper.make_empty_tensor_value_info(n.output[0]))
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    s = ort.InferenceSession(m.SerializeToString(), o, providers=['CPUExecutionProvider'])
    side = 96
    outs = s.run([n.output[0] for n in convs], {s.get_inputs()[0].name: np.zeros((1, 3, side, side), np.float32)})
    total = sum(2 * np.prod(dims[n.input[1]]) * y.shape[2] * y.shape[3] for n, y in zip(convs, outs))
    return total / side ** 2 / 1e6


def speeds(paths, rounds, side=256):
    """MPix-in per CPU-second: the best of several rounds, the models taking turns."""
    x = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
    ss = [session(p) for p in paths]
    best = [1e9] * len(ss)
    for s in ss:
        s.run(None, {s.get_inputs()[0].name: x})
    for _ in range(rounds):
        for i, s in enumerate(ss):
            t = time.process_time()
            s.run(None, {s.get_inputs()[0].name: x})
            best[i] = min(best[i], time.process_time() - t)
    return [side * side / 1e6 / b for b in best]


def score(s, scale, folder, limit=None):
    rows = []
    for f in sorted(glob.glob(os.path.join(folder, '*.png')))[:limit]:
        hr = Image.open(f).convert('RGB')
        w, h = hr.width // scale * scale, hr.height // scale * scale
        hr = hr.crop((0, 0, w, h))
        small = (w // scale, h // scale)
        cut = lambda im: luma(np.asarray(im))[scale:-scale, scale:-scale]
        ref, row = cut(hr), []
        clean = hr.resize(small, Image.BICUBIC)
        for k, lr in enumerate((clean, hr.resize(small, Image.LANCZOS), jpeg(clean))):
            out = infer(s, lr)
            y, b = cut(out), cut(lr.resize((w, h), Image.BICUBIC))
            row.append(psnr(y, ref) - psnr(b, ref))
            if k == 0:
                row += [ssim(y, ref) - ssim(b, ref)]
                back = Image.fromarray(out).resize(small, Image.BICUBIC)
                row += [psnr(np.asarray(back, np.float64), np.asarray(lr, np.float64)), psnr(y, ref)]
        rows.append(row)
    return np.mean(rows, 0)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('models', nargs='+')
    a.add_argument('--folders', nargs='*', default=[])
    a.add_argument('--rounds', type=int, default=5)
    a.add_argument('--no-speed', action='store_true')
    a.add_argument('--speed-only', action='store_true')
    a = a.parse_args()
    names = [os.path.basename(os.path.normpath(f)) for f in a.folders]
    if not a.speed_only:
        print('| model | scale | ' + ' | '.join(f'{n}: PSNR-Y, gain, SSIM gain, Lanczos, JPEG-85' for n in names)
              + ' | consistency dB |')
        print('| --- ' * (3 + len(names)) + '|')
        for p in a.models:
            s = session(p)
            k = scale_of(s)
            cells, cons = [], []
            for f in a.folders:
                g, ss, c, v, lz, jp = score(s, k, f)
                cells.append(f'{v:.2f}, {g:+.2f}, {ss:+.4f}, {lz:+.2f}, {jp:+.2f}')
                cons.append(c)
            print(f'| {os.path.basename(p)} | {k} | ' + ' | '.join(cells) + f' | {np.mean(cons):.1f} |', flush=True)
    if not a.no_speed:
        print('\n| model | MFLOP per input px | MPix-in per CPU-second | bytes |\n| --- | --- | --- | --- |')
        for p, v in zip(a.models, speeds(a.models, a.rounds)):
            print(f'| {os.path.basename(p)} | {mflop(p):.3f} | {v:.3f} | {os.path.getsize(p)} |', flush=True)


if __name__ == '__main__':
    main()
