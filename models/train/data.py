"""Training pairs. Half of them clean Pillow bicubic, half degraded as files met in practice are."""
import glob
import io
import math
import os
import random

import numpy as np
from PIL import Image, ImageFilter

VAL_EVERY = 12  # every twelfth picture (sorted by name) is held out: whole pictures, never patches


def split(folder):
    files = sorted(f for f in glob.glob(os.path.join(folder, '*'))
                   if f.lower().endswith(('.jpg', '.jpeg', '.png', '.webp')))
    val = files[5::VAL_EVERY]
    return [f for f in files if f not in set(val)], val


# Sizes that a picture is trained at, and how often. A network that has seen only one pixel density does well on
# held-out pictures of that density and poorly on small, dense ones.
SIZES = ((1.0, 0.12), (0.75, 0.33), (0.5, 0.3), (0.375, 0.25))
# How they are reduced: each leaves its own sharpness, as the many ways in which pictures come about do.
REDUCE = (Image.LANCZOS, Image.BICUBIC, Image.HAMMING, Image.BOX)


def load_hr(path, scale, size=0.75, how=Image.LANCZOS):
    im = Image.open(path).convert('RGB')
    # Shrinking removes the sources' JPEG noise and softness; otherwise the network learns them.
    w, h = int(im.size[0] * size), int(im.size[1] * size)
    im = im.resize((w, h), how)
    return im.crop((0, 0, w - w % scale, h - h % scale))


# How many turned versions there are of a picture, and how often one is taken.
TURNS, TURNED = 3, 0.4


def turned(path, scale, r):
    """The middle of a picture, turned by some degrees and reduced so far that the turn's own softness is gone."""
    im = Image.open(path).convert('RGB')
    angle = math.radians(r.choice((-1, 1)) * r.uniform(4, 45))
    (w, h), (s, c) = im.size, (abs(math.sin(angle)), math.cos(angle))
    # The largest upright rectangle in a turned one.
    short, long = min(w, h), max(w, h)
    if short <= 2 * s * c * long or abs(s - c) < 1e-9:
        x, y = (short / 2 / s, short / 2 / c) if w >= h else (short / 2 / c, short / 2 / s)
    else:
        x, y = (w * c - h * s) / (c * c - s * s), (h * c - w * s) / (c * c - s * s)
    im = im.rotate(math.degrees(angle), Image.BICUBIC)
    im = im.crop((math.ceil((w - x) / 2) + 1, math.ceil((h - y) / 2) + 1, math.floor((w + x) / 2) - 1, math.floor((h + y) / 2) - 1))
    size = r.uniform(0.4, 0.85)
    w, h = int(im.width * size), int(im.height * size)
    im = im.resize((w, h), r.choice(REDUCE))
    return im.crop((0, 0, w - w % scale, h - h % scale))


def detail(hr, lr, patch):
    """For each patch position (y, x) of the LR picture the mean absolute error of bicubic, in levels; and its mean squared error
    over the picture, 1 = full range."""
    s = hr.width // lr.width
    e = np.abs(np.asarray(hr, np.float32) - np.asarray(lr.resize(hr.size, Image.BICUBIC), np.float32))
    whole = float((e * e).mean()) / 255 ** 2
    e = e.mean(2)
    e = e.reshape(lr.height, s, lr.width, s).mean((1, 3))
    c = np.pad(e.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return (c[patch:, patch:] - c[:-patch, patch:] - c[patch:, :-patch] + c[:-patch, :-patch]) / patch ** 2, whole


class Pairs:
    def __init__(self, files, scale, patch, seed):
        self.s, self.p, self.rng = scale, patch, random.Random(seed)
        self.np_rng = np.random.default_rng(seed)
        self.sets = [[] for _ in SIZES]
        for i, f in enumerate(files):
            for k, ((size, _), images) in enumerate(zip(SIZES, self.sets)):
                self.add(images, load_hr(f, scale, size, REDUCE[(i + k) % len(REDUCE)]))
        # Turned by other angles than quarters and of other sizes than those above: a small folder shows more edges so.
        self.turned = []
        for i, f in enumerate(files):
            for k in range(TURNS):
                self.add(self.turned, turned(f, scale, random.Random(f'{i} {k}')))
        self.odds = [share if images else 0 for (_, share), images in zip(SIZES, self.sets)]

    def add(self, images, hr):
        """A picture with its LR and what is to be restored in it, if it is large enough."""
        if min(hr.size) >= (self.p + 20) * self.s:
            lr = hr.resize((hr.width // self.s, hr.height // self.s), Image.BICUBIC)
            images.append((np.asarray(hr), np.asarray(lr), *detail(hr, lr, self.p)))

    def place(self):
        """A picture and a patch position in it. Of two places the one with more to restore is taken: flat
        patches teach nothing."""
        r, p, m = self.rng, self.p, 8  # m: margin, so that kernels and JPEG blocks see a context
        of = self.turned if r.random() < TURNED and self.turned else r.choices(self.sets, self.odds)[0]
        hr, lr, detail, err = r.choice(of)
        at = [(r.randrange(m, lr.shape[0] - p - m), r.randrange(m, lr.shape[1] - p - m)) for _ in range(2)]
        y, x = max(at, key=lambda a: detail[a])
        return hr, lr, y, x, err

    def degrade(self, hr):
        """LR of an HR crop by a random kernel, a slight blur, light noise and JPEG, each only sometimes."""
        r = self.rng
        im = Image.fromarray(hr)
        if r.random() < 0.25:
            im = im.filter(ImageFilter.GaussianBlur(r.uniform(0.2, 0.35) * self.s))
        k = r.choice((Image.LANCZOS, Image.LANCZOS, Image.BOX, Image.BILINEAR, Image.HAMMING, Image.BICUBIC))
        lr = im.resize((im.width // self.s, im.height // self.s), k)
        if r.random() < 0.15:
            a = np.asarray(lr).astype(np.float32)
            a += self.np_rng.normal(0, r.uniform(0.5, 3), a.shape if r.random() < 0.5 else a.shape[:2] + (1,))
            lr = Image.fromarray(np.clip(a + 0.5, 0, 255).astype(np.uint8))
        if r.random() < 0.6:
            b = io.BytesIO()
            lr.save(b, 'JPEG', quality=r.randint(75, 100), subsampling=r.choice((0, 2)))
            lr = Image.open(b).convert('RGB')
        return np.asarray(lr)

    def batch(self, n, clean=0.5):
        """n patches, the first part clean: uint8 arrays (n, p, p, 3) and (n, s*p, s*p, 3), and the mean squared error of bicubic on their
        pictures (n)."""
        s, p, r, m = self.s, self.p, self.rng, 8
        xs, ys, es = [], [], []
        for i in range(n):
            hr, lr, y, x, err = self.place()
            h = hr[y * s:(y + p) * s, x * s:(x + p) * s]
            if i < round(n * clean):
                l = lr[y:y + p, x:x + p]
            else:
                # A random part of the margin moves the JPEG grid relative to the patch.
                t, u = r.randint(1, m), r.randint(1, m)
                c = hr[(y - t) * s:(y + p + m) * s, (x - u) * s:(x + p + m) * s]
                l = self.degrade(c)[t:t + p, u:u + p]
            k = r.randrange(8)
            if k & 1:
                l, h = l[:, ::-1], h[:, ::-1]
            if k & 2:
                l, h = l[::-1], h[::-1]
            if k & 4:
                l, h = l.transpose(1, 0, 2), h.transpose(1, 0, 2)
            if r.random() < 0.2:
                # Neon and drawings are of colours that photographs hardly have.
                order = r.sample(range(3), 3)
                l, h = l[:, :, order], h[:, :, order]
            xs.append(l)
            ys.append(h)
            es.append(err)
        return np.stack(xs), np.stack(ys), np.array(es, np.float32)


def val_pairs(files, scale, reduce=0.75, size=384):
    """The centre of each held-out picture: (lr, hr, bicubic)."""
    out = []
    for f in files:
        hr = load_hr(f, scale, reduce)
        a, b = min(size, hr.width) // scale * scale, min(size, hr.height) // scale * scale
        x, y = (hr.width - a) // 2, (hr.height - b) // 2
        hr = hr.crop((x, y, x + a, y + b))
        lr = hr.resize((a // scale, b // scale), Image.BICUBIC)
        out.append((np.asarray(lr), np.asarray(hr), np.asarray(lr.resize((a, b), Image.BICUBIC))))
    return out
