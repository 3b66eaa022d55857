#!/usr/bin/env python3
"""Fine-tune a fidelity network for crispness: it then invents texture that is likely, where restoring alone leaves it soft.

  crisp.py --data FOLDER --init FILE.onnx --out DIR (--steps N | --minutes M)

Losses: absolute error of pixels and of what the result is reduced to (so that it stays true to its source), of gradients, of the
amplitudes of frequencies, and an adversary that tells patches of results from true ones (relativistic average, Jolicoeur-Martineau 2018;
spectral normalisation, Miyato et al. 2018). DIR/final.pt holds averaged weights for export.py. Seeded; not resumable, it is short.
"""
import argparse
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import data
from train import from_onnx, validate
from net import Net


def args_():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--data', required=True)
    a.add_argument('--init', required=True)
    a.add_argument('--out', required=True)
    a.add_argument('--steps', type=int)
    a.add_argument('--minutes', type=float)
    a.add_argument('--patch', type=int, default=32)
    a.add_argument('--batch', type=int, default=8)
    a.add_argument('--clean', type=float, default=0.5, help='part of each batch that is clean bicubic')
    a.add_argument('--lr', type=float, default=2e-4)
    a.add_argument('--pixels', type=float, default=0.5)
    a.add_argument('--gradients', type=float, default=1.0)
    a.add_argument('--frequencies', type=float, default=0.05)
    a.add_argument('--adversary', type=float, default=0.01)
    a.add_argument('--ema', type=float, default=0.998)
    a.add_argument('--seed', type=int, default=1)
    a.add_argument('--threads', type=int, default=2)
    a.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return a.parse_args()


class Adversary(nn.Module):
    """Says of overlapping places, 46 px wide, how true they look."""

    def __init__(self, n=32):
        super().__init__()
        conv = lambda i, o, k, s: spectral_norm(nn.Conv2d(i, o, k, s, k // 2))
        act = lambda: nn.LeakyReLU(0.2)
        self.net = nn.Sequential(conv(3, n, 3, 1), act(), conv(n, n, 4, 2), act(), conv(n, 2 * n, 4, 2), act(),
                                 conv(2 * n, 2 * n, 4, 2), act(), conv(2 * n, 1, 3, 1))

    def forward(self, x):
        return self.net(x - 0.5)


def slopes(x):
    return torch.cat([x[..., 1:, 1:] - x[..., 1:, :-1], x[..., 1:, 1:] - x[..., :-1, 1:]], 1)


def main():
    a = args_()
    if not (a.steps or a.minutes):
        raise SystemExit('give --steps or --minutes')
    os.makedirs(a.out, exist_ok=True)
    torch.set_num_threads(a.threads)
    random.seed(a.seed)
    np.random.seed(a.seed)
    torch.manual_seed(a.seed)
    cfg, sd = from_onnx(a.init)
    net = Net(**cfg)
    net.load_state_dict(sd)
    net = net.to(a.device, memory_format=torch.channels_last)
    adversary = Adversary().to(a.device, memory_format=torch.channels_last)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    opt = torch.optim.Adam(net.parameters(), a.lr, betas=(0.9, 0.99))
    other = torch.optim.Adam(adversary.parameters(), a.lr, betas=(0.5, 0.99))
    shown, val = data.split(a.data)
    scale = cfg['scale']
    pairs = data.Pairs(shown, scale, a.patch, a.seed * 1000003)
    held = data.val_pairs(val, scale)
    probe = Net(**cfg).to(a.device).eval()
    start = said = time.time()
    step, told, done, sums = 0, 0, 0.0, np.zeros(5)
    while done < 1:
        x, y = (torch.from_numpy(v).permute(0, 3, 1, 2).to(a.device).float().div_(255) for v in pairs.batch(a.batch, a.clean)[:2])
        x = x.contiguous(memory_format=torch.channels_last)
        out = net(x)
        for p in adversary.parameters():
            p.requires_grad_(True)
        real, fake = adversary(y), adversary(out.detach())
        judge = F.softplus(fake - real.mean()).mean() + F.softplus(fake.mean() - real).mean()
        other.zero_grad(set_to_none=True)
        judge.backward()
        other.step()
        for p in adversary.parameters():
            p.requires_grad_(False)
        real, fake = adversary(y), adversary(out)
        fool = F.softplus(real - fake.mean()).mean() + F.softplus(real.mean() - fake).mean()
        window = torch.hann_window(out.shape[-1], device=a.device)
        amplitude = lambda v: torch.fft.rfft2(v * window * window[:, None], norm='ortho').abs()
        losses = [
            (out - y).abs().mean() + F.l1_loss(F.avg_pool2d(out, scale), F.avg_pool2d(y, scale)),
            F.l1_loss(slopes(out).abs(), slopes(y).abs()),
            F.l1_loss(amplitude(out), amplitude(y)),
            fool,
        ]
        # Any colour must come out as it is, without a pattern, as in train.py.
        c = torch.rand(64, 3, device=a.device)
        flat = net.flat(c) - c[:, :, None, None]
        # The adversary learns first.
        ramp = min(1.0, step / 200)
        loss = sum(w * v for w, v in zip((a.pixels, a.gradients, a.frequencies, a.adversary * ramp), losses))
        loss = loss + 0.5 * flat.abs().mean() + 200 * (flat * flat).mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        step += 1
        done = step / a.steps if a.steps else (time.time() - start) / (60 * a.minutes)
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - min(a.ema, (1 + step) / (10 + step)))
        sums += [v.item() for v in losses] + [judge.item()]
        if time.time() - said > 120 or done >= 1:
            probe.load_state_dict(ema)
            means = ' '.join(f'{v:.4f}' for v in sums / (step - told))
            print(f'{time.time() - start:.0f} s, step {step}, pixels gradients frequencies fooled judged {means}, '
                  f'held-out gain {validate(probe, held, scale, a.device):+.3f} dB', flush=True)
            said, told, sums = time.time(), step, np.zeros(5)
    torch.save(dict(cfg=cfg, ema=ema, step=step), os.path.join(a.out, 'final.pt'))


if __name__ == '__main__':
    main()
