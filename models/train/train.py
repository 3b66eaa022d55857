#!/usr/bin/env python3
"""Train a fidelity network. Everything is seeded; stop it at any time and start the same command again to go on.

  train.py --data FOLDER --out DIR [--scale 4] [--init FILE] (--steps N | --minutes M | --until HH:MM)

The learning rate follows a cosine over the chosen budget. A budget in steps is repeatable; one in time suits a
machine whose speed is not known. DIR/last.pt is the state to resume, DIR/final.pt the averaged weights to export.
"""
import argparse
import datetime
import math
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
from net import Net, grow, refit_tail, rescale, widen
from optim import Soap


def args_():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--data', required=True)
    a.add_argument('--out', required=True)
    a.add_argument('--scale', type=int, default=4)
    a.add_argument('--features', type=int, default=32)
    a.add_argument('--blocks', type=int, default=14)
    a.add_argument('--init', help='.onnx or .pt to start from: shallower and narrower ones are grown, other scales converted')
    a.add_argument('--steps', type=int)
    a.add_argument('--minutes', type=float)
    a.add_argument('--until', help='UTC time of day, HH:MM')
    a.add_argument('--refit', type=int, default=0, metavar='N', help='first fit the tail to N batches by least squares')
    a.add_argument('--patch', type=int, default=48)
    a.add_argument('--batch', type=int, default=8)
    a.add_argument('--clean', type=float, default=0.5, help='part of each batch that is clean bicubic')
    a.add_argument('--optim', choices=('adam', 'soap'), default='adam')
    a.add_argument('--lr', type=float, default=1e-3)
    a.add_argument('--warmup', type=int, default=200)
    a.add_argument('--ema', type=float, default=0.999)
    a.add_argument('--seed', type=int, default=1)
    a.add_argument('--threads', type=int, default=2)
    a.add_argument('--workers', type=int, default=1, help='processes that share the batch; --threads counts for each')
    a.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    a.add_argument('--bf16', action='store_true')
    a.add_argument('--save-every', type=float, default=180, help='seconds')
    a.add_argument('--pause-file', help='wait for as long as this file exists')
    return a.parse_args()


def from_onnx(path):
    """Weights of an exported network (or of lastmile-start-x4) by their names."""
    import onnx
    from onnx import numpy_helper
    g = onnx.load(path).graph
    sd, n, adds = {}, 0, []
    for t in g.initializer:
        if t.name.endswith(('_w', '_b')):
            name, kind = t.name[:-2], {'w': 'weight', 'b': 'bias'}[t.name[-1]]
            if name.startswith('body'):
                n = max(n, int(name[4:]) + 1)
                name = f'body.{name[4:]}'
            sd[f'{name}.{kind}'] = torch.from_numpy(numpy_helper.to_array(t).copy())
    for node in g.node:
        if node.op_type == 'Add' and node.output[0].startswith('skip'):
            adds.append(int(node.output[0][4:]))
    scale = round((sd['tail.weight'].shape[0] // 3) ** 0.5)
    return dict(scale=scale, features=sd['head.weight'].shape[0], blocks=n, adds=adds), sd


def load(path):
    if path.endswith('.onnx'):
        return from_onnx(path)
    c = torch.load(path, map_location='cpu', weights_only=True)
    return c['cfg'], c['ema']


def make(a):
    if not a.init:
        return Net(a.scale, a.features, a.blocks)
    cfg, sd = load(a.init)
    old = grow(cfg, sd, max(a.blocks, cfg['blocks']))
    if a.features > cfg['features']:
        old = widen(old, a.features)
    if cfg['scale'] == a.scale:
        return old
    return rescale(old, Net(a.scale, old.cfg['features'], old.cfg['blocks'], old.cfg['adds']))


LUMA = torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255


@torch.no_grad()
def validate(net, pairs, scale, device):
    """Mean gain in PSNR-Y over bicubic on the held-out pictures."""
    gains = []
    for lr, hr, bi in pairs:
        t = lambda v: torch.from_numpy(v.copy()).permute(2, 0, 1).float().div(255)
        y = net(t(lr)[None].to(device))[0].clamp(0, 1).cpu()
        e = [(((v - t(hr)) * LUMA).sum(0)[scale:-scale, scale:-scale] ** 2).mean().item() for v in (y, t(bi))]
        gains.append(10 * math.log10(e[1] / e[0]))
    return float(np.mean(gains))


def relative(d, hard):
    """Loss of n errors (n, 3, H, W), beside the mean squared error of bicubic on the pictures that the patches are of (n).

    PSNR is a logarithm, and means of it are taken over pictures: a tenth less error counts the same in a clear sky as in foliage. Absolute or
    squared error hardly looks at the sky. The patch alone would say too little about its picture, hence the second term; the third
    is what nobody sees (a third of a level). Luma counts for more, as to the eye.
    """
    known = 0.05 * hard + 2e-6
    rgb, luma = (d * d).mean((1, 2, 3)), ((d * LUMA.to(d.device)).sum(1) ** 2).mean((1, 2))
    return 0.02 * (0.4 * torch.log(rgb + known) + 0.6 * torch.log(luma + known)).mean()


def average(net, done):
    """The workers' mean gradient, and the first one's clock, so that all keep the same weights and schedule."""
    flat = torch.cat([p.grad.flatten() for p in net.parameters()] + [torch.tensor([done], device=next(net.parameters()).device)])
    if torch.distributed.get_rank():
        flat[-1] = 0
    torch.distributed.all_reduce(flat)
    flat, done = flat[:-1] / torch.distributed.get_world_size(), flat[-1].item()
    at = 0
    for p in net.parameters():
        p.grad = flat[at:at + p.numel()].view(p.shape)
        at += p.numel()
    return done


def main():
    a = args_()
    os.makedirs(a.out, exist_ok=True)
    if a.workers == 1:
        return train(0, a, None)
    if a.batch % a.workers:
        raise SystemExit('--batch must be a multiple of --workers')
    # One thread each and one meeting per step: on a shared machine far better than threads that meet in every layer.
    meet = os.path.join(a.out, f'meet-{os.getpid()}')
    torch.multiprocessing.start_processes(train, (a, meet), a.workers, start_method='spawn')
    os.path.exists(meet) and os.remove(meet)


def train(rank, a, meet):
    if meet:
        torch.distributed.init_process_group('gloo', 'file://' + os.path.abspath(meet), rank=rank,
                                             world_size=a.workers, timeout=datetime.timedelta(hours=12))
    say = print if rank == 0 else lambda *_, **__: None
    torch.set_num_threads(a.threads)
    random.seed(a.seed)
    np.random.seed(a.seed)
    torch.manual_seed(a.seed)
    last = os.path.join(a.out, 'last.pt')
    state = torch.load(last, map_location='cpu', weights_only=True) if os.path.exists(last) else None
    net = Net(**state['cfg']) if state else make(a)
    if state:
        net.load_state_dict(state['net'])
    net = net.to(a.device, memory_format=torch.channels_last)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    adam = lambda: torch.optim.Adam(net.parameters(), a.lr, betas=(0.9, 0.99))
    opt = Soap(net.parameters(), a.lr) if a.optim == 'soap' else adam()
    step, spent = 0, 0.0
    if state:
        ema = {k: v.to(a.device) for k, v in state['ema'].items()}
        opt.load_state_dict(state['opt'])
        step, spent = state['step'], state['spent']
    # Another seed after each resume: the same seed would show the same patches again.
    shown, val = data.split(a.data)
    pairs = data.Pairs(shown, a.scale, a.patch, a.seed * 1000003 + step + rank * 7919)
    held = [data.val_pairs(val, a.scale, size) for size, _ in data.SIZES]
    say(f'{sum(p.numel() for p in net.parameters())} parameters, {net.cfg}, {len(shown)} pictures, '
          f'{len(val)} held out, start: step {step}', flush=True)

    if a.refit and not state:
        t = lambda v: torch.from_numpy(v).permute(0, 3, 1, 2).float().div(255)
        cpu = net.to('cpu')
        refit_tail(cpu, ((t(x), t(y)) for x, y, _ in (pairs.batch(a.batch) for _ in range(a.refit))))
        net = cpu.to(a.device, memory_format=torch.channels_last)
        ema = {k: v.clone() for k, v in net.state_dict().items()}

    probe = Net(**net.cfg).to(a.device).eval()

    def val_gain():
        probe.load_state_dict(ema)
        return ' '.join(f'{validate(probe, h, a.scale, a.device):+.3f}' for h in held)

    start = time.time()
    if a.until:
        h, m = map(int, a.until.split(':'))
        now = datetime.datetime.now(datetime.timezone.utc)
        end = now.replace(hour=h, minute=m, second=0, microsecond=0)
        total = spent + ((end - now).total_seconds() % 86400)
    elif a.minutes:
        total = a.minutes * 60
    elif not a.steps:
        raise SystemExit('give --steps, --minutes or --until')

    def save(name):
        c = dict(cfg=net.cfg, ema=ema, step=step)
        if name == 'last.pt':
            c.update(net=net.state_dict(), opt=opt.state_dict(), spent=spent + time.time() - start)
        torch.save(c, os.path.join(a.out, name + '.tmp'))
        os.replace(os.path.join(a.out, name + '.tmp'), os.path.join(a.out, name))

    say(f'held-out gain at the start {val_gain() if rank == 0 else 0} dB', flush=True)
    saved = time.time()
    run, n, done = 0.0, 0, step / a.steps if a.steps else spent / total
    while True:
        while a.pause_file and os.path.exists(a.pause_file):
            time.sleep(1)
        *batch, hard = pairs.batch(a.batch // a.workers, a.clean)
        x, y = (torch.from_numpy(v).permute(0, 3, 1, 2).to(a.device).float().div_(255) for v in batch)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(a.device.split(':')[0], torch.bfloat16, enabled=a.bf16):
            out = net(x)
        d = out.float() - y
        loss = relative(d, torch.from_numpy(hard).to(a.device))
        # Patches have no large flat areas, pictures do: any colour must come out as it is, without a pattern.
        c = torch.rand(64, 3, device=a.device) * 1.1 - 0.05
        c[::2] = c[::2, :1] + 0.1 * (c[::2] - 0.5)
        c[1::4] = torch.where(torch.rand_like(c[1::4]) < 0.7, c[1::4].round(), c[1::4])  # signals, neon, drawings
        c = c.clamp(0, 1)
        e = net.flat(c) - c[:, :, None, None]
        loss = loss + 0.5 * e.abs().mean() + 200 * (e * e).mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        done = step / a.steps if a.steps else (spent + time.time() - start) / total
        if meet:
            done = average(net, done)
        if done >= 1:
            break
        lr = a.lr * (0.5 + 0.5 * math.cos(math.pi * done)) * min(1, (step + 1) / a.warmup) + 1e-6
        for g in opt.param_groups:
            g['lr'] = lr
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        step += 1
        with torch.no_grad():
            k = min(a.ema, (1 + step) / (10 + step))
            for key, v in net.state_dict().items():
                ema[key].lerp_(v, 1 - k)
        run, n = run + d.detach().abs().mean().item(), n + 1
        if rank == 0 and time.time() - saved > a.save_every:
            save('last.pt')
            say(f'{time.time() - start:.0f} s, step {step}, lr {lr:.2e}, L1 {run / n:.5f}, '
                  f'held-out gain {val_gain()} dB', flush=True)
            saved, run, n = time.time(), 0.0, 0
    if rank:
        return
    save('last.pt')
    save('final.pt')
    say(f'end: step {step}, held-out gain {val_gain()} dB', flush=True)


if __name__ == '__main__':
    main()
