"""Makes tests/fixtures/import: small checkpoints with random weights, and what PyTorch computes with them.

    python3 models/train/make_import_fixtures.py      (needs torch and numpy; any version since 1.12)

Each network is defined here from its paper and the key names of its published checkpoints, saved the way people save them
(wrappers, prefixes, half precision, safetensors), and run on a random picture. `expected.safetensors` holds, for each
checkpoint NAME, `NAME.input` and `NAME.output`. The tests need no PyTorch.
"""

import collections
import json
import pathlib
import struct

import torch
from torch import nn
from torch.nn import functional as F

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "import"
EXPECTED = {}


def write_safetensors(path, tensors):
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for key, t in tensors.items():
        raw = t.contiguous()
        raw = raw.view(torch.int16).numpy().tobytes() if raw.element_size() == 2 else raw.numpy().tobytes()
        header[key] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def conv(cin, cout, k=3, stride=1, pad=None):
    return nn.Conv2d(cin, cout, k, stride, k // 2 if pad is None else pad)


def lrelu(x, slope=0.2):
    return F.leaky_relu(x, slope)


# --- RRDBNet -----------------------------------------------------------------------------------------------------------------


class DenseBlock(nn.Module):
    def __init__(self, nf, gc):
        super().__init__()
        for i in range(5):
            setattr(self, f"conv{i + 1}", conv(nf + i * gc, gc if i < 4 else nf))

    def forward(self, x):
        seen = [x]
        for i in range(4):
            seen.append(lrelu(getattr(self, f"conv{i + 1}")(torch.cat(seen, 1))))
        return self.conv5(torch.cat(seen, 1)) * 0.2 + x


class Group(nn.Module):
    def __init__(self, nf, gc):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = DenseBlock(nf, gc), DenseBlock(nf, gc), DenseBlock(nf, gc)

    def forward(self, x):
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class RRDBNet(nn.Module):
    def __init__(self, nf=4, gc=2, nb=1, ups=2, fold=1):
        super().__init__()
        self.fold, self.ups = fold, ups
        self.conv_first = conv(3 * fold * fold, nf)
        self.body = nn.Sequential(*[Group(nf, gc) for _ in range(nb)])
        self.conv_body = conv(nf, nf)
        for i in range(ups):
            setattr(self, f"conv_up{i + 1}", conv(nf, nf))
        self.conv_hr, self.conv_last = conv(nf, nf), conv(nf, 3)

    def forward(self, x):
        x = F.pixel_unshuffle(x, self.fold) if self.fold > 1 else x
        x = self.conv_first(x)
        x = self.conv_body(self.body(x)) + x
        for i in range(self.ups):
            x = lrelu(getattr(self, f"conv_up{i + 1}")(F.interpolate(x, scale_factor=2, mode="nearest")))
        return self.conv_last(lrelu(self.conv_hr(x)))


def old_keys(state, ups):
    """The sequential numbering of the first ESRGAN: resizes and activations count too."""
    blocks = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("body."))
    names = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}"}
    names |= {f"conv_up{i + 1}": f"model.{3 + 3 * i}" for i in range(ups)}
    names |= {"conv_hr": f"model.{2 + 3 * ups}", "conv_last": f"model.{4 + 3 * ups}"}
    out = collections.OrderedDict()
    for key, value in state.items():
        stem, kind = key.rsplit(".", 1)
        if stem.startswith("body."):
            stem = stem.replace("body.", "model.1.sub.").replace("rdb", "RDB") + ".0"
        out[f"{names.get(stem, stem)}.{kind}"] = value
    return out


def middle_keys(state):
    names = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    out = collections.OrderedDict()
    for key, value in state.items():
        stem, kind = key.rsplit(".", 1)
        out[f"{names.get(stem, stem.replace('body.', 'RRDB_trunk.').replace('rdb', 'RDB'))}.{kind}"] = value
    return out


# --- SRVGGNetCompact ---------------------------------------------------------------------------------------------------------


class SRVGG(nn.Module):
    def __init__(self, nf=6, convs=2, scale=4, act="prelu"):
        super().__init__()
        make = {"prelu": lambda: nn.PReLU(nf, init=0.3), "relu": nn.ReLU, "leakyrelu": lambda: nn.LeakyReLU(0.1)}[act]
        layers = [conv(3, nf), make()]
        for _ in range(convs):
            layers += [conv(nf, nf), make()]
        self.body = nn.ModuleList([*layers, conv(nf, 3 * scale * scale)])
        self.scale = scale

    def forward(self, x):
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(y, self.scale) + F.interpolate(x, scale_factor=self.scale, mode="nearest")


# --- SPAN --------------------------------------------------------------------------------------------------------------------


class Chain(nn.Module):
    """A 3x3 convolution as it is trained: 1x1, 3x3 (on a picture padded before the first), 1x1, plus a 1x1 skip."""

    def __init__(self, cin, cout):
        super().__init__()
        self.sk = conv(cin, cout, 1)
        self.conv = nn.Sequential(conv(cin, 2 * cin, 1), conv(2 * cin, 2 * cout, 3, pad=0), conv(2 * cout, cout, 1))
        self.eval_conv = conv(cin, cout)  # stale on purpose

    def forward(self, x):
        return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)


class Plain(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.eval_conv = conv(cin, cout)

    def forward(self, x):
        return self.eval_conv(x)


class SpanBlock(nn.Module):
    def __init__(self, make, nf):
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = make(nf, nf), make(nf, nf), make(nf, nf)

    def forward(self, x):
        first = F.silu(self.c1_r(x))
        y = self.c3_r(F.silu(self.c2_r(first)))
        return (y + x) * (torch.sigmoid(y) - 0.5), first


class Span(nn.Module):
    def __init__(self, make, nf=4, scale=2, norm=True):
        super().__init__()
        self.norm = norm
        if not norm:
            self.register_buffer("no_norm", torch.zeros(1))
        self.conv_1 = make(3, nf)
        for i in range(6):
            setattr(self, f"block_{i + 1}", SpanBlock(make, nf))
        self.conv_cat, self.conv_2 = conv(4 * nf, nf, 1), make(nf, nf)
        self.upsampler = nn.Sequential(conv(nf, 3 * scale * scale), nn.PixelShuffle(scale))

    def forward(self, x):
        if self.norm:
            x = (x - torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)) * 255.0
        head = self.conv_1(x)
        b1, _ = self.block_1(head)
        y = b1
        for i in range(2, 7):
            y, late = getattr(self, f"block_{i}")(y)
        return self.upsampler(self.conv_cat(torch.cat([head, self.conv_2(y), b1, late], 1)))


# --- RLFN --------------------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, esa, nf):
        super().__init__()
        self.conv1, self.conv_f = conv(nf, esa, 1), conv(esa, esa, 1)
        self.conv2, self.conv3 = conv(esa, esa, 3, 2, 0), conv(esa, esa)
        self.conv4 = conv(esa, nf, 1)

    def forward(self, x):
        small = self.conv1(x)
        y = self.conv3(F.max_pool2d(self.conv2(small), 7, 3))
        y = F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(y + self.conv_f(small)))


class RlfnBlock(nn.Module):
    def __init__(self, nf, mid, esa):
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = conv(nf, mid), conv(mid, mid), conv(mid, nf)
        self.c5, self.esa = conv(nf, nf, 1), Attention(esa, nf)

    def forward(self, x):
        y = x
        for c in (self.c1_r, self.c2_r, self.c3_r):
            y = lrelu(c(y), 0.05)
        return self.esa(self.c5(y + x))


class Rlfn(nn.Module):
    """Works on 0..255; the wrapper below feeds it 0..1."""

    def __init__(self, nf=4, mid=6, esa=3, blocks=2, scale=2):
        super().__init__()
        self.blocks = blocks
        self.conv_1 = conv(3, nf)
        for i in range(blocks):
            setattr(self, f"block_{i + 1}", RlfnBlock(nf, mid, esa))
        self.conv_2 = conv(nf, nf)
        self.upsampler = nn.Sequential(conv(nf, 3 * scale * scale), nn.PixelShuffle(scale))

    def forward(self, x):
        head = self.conv_1(x * 255.0)
        y = head
        for i in range(self.blocks):
            y = getattr(self, f"block_{i + 1}")(y)
        return self.upsampler(self.conv_2(y) + head) / 255.0


# -----------------------------------------------------------------------------------------------------------------------------


def fixture(name, net, height, width, save, dtype=torch.float32, gain=1.5):
    """Scales the weights of `net` by `gain` and rounds them to `dtype`, runs it, saves `save(state)` and keeps what came out."""
    with torch.no_grad():
        for p in net.parameters():
            p.copy_((p * gain).to(dtype).float())
    net.eval()
    x = torch.rand(1, 3, height, width)
    with torch.no_grad():
        y = net(x)
    state = collections.OrderedDict((k, v.detach().to(dtype)) for k, v in net.state_dict().items())
    data = save(state)
    if name.endswith(".safetensors"):
        write_safetensors(OUT / name, data)
    else:
        torch.save(data, OUT / name, _use_new_zipfile_serialization="-legacy" not in name)
    EXPECTED[f"{name}.input"], EXPECTED[f"{name}.output"] = x[0], y[0]
    print(f"{name:34} {(OUT / name).stat().st_size:7} bytes, x{y.shape[3] / width:g}, output {y.mean():+.3f} +- {y.std():.3f}")


def strided(state):
    """The same values as views: transposed, in one shared storage, with gaps."""
    out = collections.OrderedDict()
    pool = torch.zeros(256)
    at = 7
    for key, t in state.items():
        if t.dim() == 4:
            out[key] = t.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
        else:
            view = pool[at : at + 2 * t.numel() : 2]
            view.copy_(t)
            out[key] = view
            at += 2 * t.numel() + 3
    return out


def main():
    torch.manual_seed(20)
    OUT.mkdir(parents=True, exist_ok=True)
    half, bf16 = torch.float16, torch.bfloat16
    same = lambda s: s
    fixture("rrdb-old-x4.pth", RRDBNet(nf=3), 5, 4, lambda s: old_keys(s, 2))
    wrapped = lambda s: {"iter": 5000, "state_dict": {f"module.{k}": v for k, v in old_keys(s, 1).items()}, "lr": [1e-4, 5e-5]}
    fixture("rrdb-old-x2-wrapped.pth", RRDBNet(nf=3, ups=1), 6, 7, wrapped, half)
    fixture("rrdb-old-x1.safetensors", RRDBNet(ups=0), 6, 7, lambda s: old_keys(s, 0), half)
    fixture("rrdb-old-x8.safetensors", RRDBNet(ups=3), 2, 3, lambda s: old_keys(s, 3), half)
    fixture("rrdb-middle-x4.safetensors", RRDBNet(nb=3, nf=2, gc=1), 5, 4, middle_keys)
    fixture("rrdb-new-x4.pth", RRDBNet(nf=2, gc=1, nb=2), 5, 4, lambda s: {"params_ema": s})
    fixture("rrdb-new-x2.safetensors", RRDBNet(fold=2), 8, 6, same, bf16)
    fixture("rrdb-new-x1.safetensors", RRDBNet(fold=4), 8, 12, same, half)
    params = lambda s: {"params": {k: nn.Parameter(v) for k, v in s.items()}}
    fixture("srvgg-x4-prelu.pth", SRVGG(nf=4), 5, 6, params)
    fixture("srvgg-x1-strided.pth", SRVGG(scale=1), 5, 6, strided)
    fixture("srvgg-x2-relu.safetensors", SRVGG(scale=2, act="relu", convs=1), 5, 6, same)
    fixture("srvgg-x3-leakyrelu.safetensors", SRVGG(scale=3, act="leakyrelu", nf=4), 5, 6, same)
    fixture("span-x2-trained.safetensors", Span(Chain, nf=2), 6, 7, same, half, gain=1.0)
    fixture("span-x4-plain.pth", Span(Plain, scale=4, norm=False), 6, 5, same, half)
    fixture("rlfn-x2.pth", Rlfn(), 17, 16, same)
    fixture("rrdb-old-x4-legacy.pth", RRDBNet(nf=3), 5, 4, lambda s: old_keys(s, 2), half)
    among_settings = lambda s: {
        "ema": {"decay": 0.999}, "network": {"type": "SRVGG"}, "params": {**s, "num_updates": torch.tensor(7)}, "model": {}
    }
    fixture("srvgg-x4-settings-legacy.pth", SRVGG(nf=4), 5, 6, among_settings, half)
    write_safetensors(OUT / "expected.safetensors", EXPECTED)
    total = sum(p.stat().st_size for p in OUT.iterdir())
    print(f"{total} bytes in all")


if __name__ == "__main__":
    main()
