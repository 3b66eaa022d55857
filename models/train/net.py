"""The network: 3x3 convolutions + ReLU, residual adds, pixel shuffle. Nothing else, on purpose.

ONNX Runtime's blocked CPU layout (NCHWc) fuses Conv+ReLU and Conv+Add when channels are multiples of 16;
PReLU, SiLU, attention and concatenation each break that and cost more than the convolutions they save.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self, scale=4, features=32, blocks=14, adds=()):
        super().__init__()
        self.cfg = dict(scale=scale, features=features, blocks=blocks, adds=sorted(adds))
        self.scale, self.adds = scale, frozenset(adds)
        conv = lambda i, o: nn.Conv2d(i, o, 3, 1, 1)
        self.head = conv(3, features)
        self.body = nn.ModuleList(conv(features, features) for _ in range(blocks))
        self.mid = conv(features, features)
        self.tail = conv(features, 3 * scale * scale)
        # The base picture: a learned linear 3x3 up-sampling. It runs at the input size and its Add is fused into
        # the tail convolution, so it is cheaper than a Resize and an Add at the output size.
        self.base = conv(3, 3 * scale * scale)
        self.reset()

    @torch.no_grad()
    def reset(self):
        for c in self.body:
            # x + conv(x) needs no Add: the identity is folded into the kernel (activations are never negative).
            nn.init.kaiming_normal_(c.weight, nonlinearity='relu')
            c.weight.mul_(0.3)
            identity_(c, add=True)
            c.bias.zero_()
        self.tail.weight.mul_(0.1)
        self.tail.bias.zero_()
        nearest_(self.base, self.scale)

    def features(self, x):
        h = r = F.relu(self.head(x))
        for i, c in enumerate(self.body):
            y = F.relu(c(h))
            h = y + h if i in self.adds else y
        return self.mid(h) + r

    def flat(self, c):
        """What comes out inside a flat area of the colours `c` (n, 3): (n, 3, scale, scale). There a 3x3 kernel is its sum."""
        k = lambda conv, v: v @ conv.weight.sum((2, 3)).T + conv.bias
        h = r = F.relu(k(self.head, c))
        for i, b in enumerate(self.body):
            y = F.relu(k(b, h))
            h = y + h if i in self.adds else y
        y = k(self.tail, k(self.mid, h) + r) + k(self.base, c)
        return y.view(-1, 3, self.scale, self.scale)

    def forward(self, x):
        h = self.features(x)
        return F.pixel_shuffle(self.tail(h) + self.base(x), self.scale)


@torch.no_grad()
def identity_(conv, add=False):
    if not add:
        conv.weight.zero_()
        conv.bias.zero_()
    for i in range(conv.weight.shape[0]):
        conv.weight[i, i, 1, 1] += 1


@torch.no_grad()
def nearest_(conv, scale):
    conv.weight.zero_()
    conv.bias.zero_()
    for c in range(3):
        conv.weight[c * scale * scale:(c + 1) * scale * scale, c, 1, 1] = 1


@torch.no_grad()
def grow(old_cfg, old, blocks):
    """A deeper network that computes the same function: identity layers spread evenly between the old ones."""
    n = old_cfg['blocks']
    assert blocks >= n
    # New layers go after the old layers at evenly spaced positions.
    after = {}
    for k in range(blocks - n):
        p = (k + 1) * n // (blocks - n + 1)
        p = min(n - 1, max(0, p - 1 if p else 0))
        after[p] = after.get(p, 0) + 1
    order = []
    for i in range(n):
        order.append(i)
        order += [None] * after.get(i, 0)
    adds = [new for new, i in enumerate(order) if i is not None and i in old_cfg['adds']]
    net = Net(old_cfg['scale'], old_cfg['features'], blocks, adds)
    for c, i in zip(net.body, order):
        if i is None:
            identity_(c)
        else:
            c.weight.copy_(old[f'body.{i}.weight'])
            c.bias.copy_(old[f'body.{i}.bias'])
    for part in ('head', 'mid', 'tail', 'base'):
        m = getattr(net, part)
        if f'{part}.weight' in old:
            m.weight.copy_(old[f'{part}.weight'])
            m.bias.copy_(old[f'{part}.bias'])
    return net


@torch.no_grad()
def widen(old, features):
    """A wider network that computes the same function: what reads the new channels starts at zero, what fills them does not."""
    net = Net(old.scale, features, old.cfg['blocks'], old.cfg['adds'])
    n = old.cfg['features']
    net.head.weight[:n], net.head.bias[:n] = old.head.weight, old.head.bias
    for a, b in zip([*net.body, net.mid], [*old.body, old.mid]):
        a.weight[:n] = 0
        a.weight[:n, :n], a.bias[:n] = b.weight, b.bias
    net.tail.weight.zero_()
    net.tail.weight[:, :n] = old.tail.weight
    net.tail.bias.copy_(old.tail.bias)
    net.base.load_state_dict(old.base.state_dict())
    return net


@torch.no_grad()
def rescale(old, net):
    """Start a network of another scale: the body is kept, tail and base begin anew (averaged sub-pixels)."""
    s0 = round((old.tail.weight.shape[0] // 3) ** 0.5)
    s1 = net.scale
    for part in ('head', 'mid'):
        getattr(net, part).load_state_dict(getattr(old, part).state_dict())
    for a, b in zip(net.body, old.body):
        a.load_state_dict(b.state_dict())
    k = s0 // s1
    for part in ('tail', 'base'):
        a, b = getattr(net, part), getattr(old, part)
        w = b.weight.view(3, s1, k, s1, k, *b.weight.shape[1:]).mean((2, 4))
        a.weight.copy_(w.reshape(a.weight.shape))
        a.bias.copy_(b.bias.view(3, s1, k, s1, k).mean((2, 4)).reshape(-1))
    return net


@torch.no_grad()
def refit_tail(net, batches, ridge=1e-3):
    """Solve tail and base exactly (least squares) for the features that the body gives: seconds instead of epochs."""
    k = None
    for x, y in batches:
        u = torch.cat([net.features(x), x], 1)
        # Patch borders are left out: zero padding is not what the inside of a picture looks like.
        u = F.unfold(u, 3).transpose(1, 2).reshape(-1, u.shape[1] * 9)
        u = torch.cat([u, torch.ones(len(u), 1)], 1).double()
        t = (F.pixel_unshuffle(y, net.scale)
             - F.pixel_unshuffle(F.interpolate(x, scale_factor=net.scale, mode='nearest'), net.scale))
        t = t[:, :, 1:-1, 1:-1].permute(0, 2, 3, 1).reshape(len(u), -1).double()
        a, b = u.T @ u, u.T @ t
        k, v, n = (a, b, len(u)) if k is None else (k + a, v + b, n + len(u))
    k += torch.eye(len(k), dtype=k.dtype) * ridge * n * 1e-3
    w = torch.linalg.solve(k, v).T.float()
    f = net.head.weight.shape[0]
    net.tail.weight.copy_(w[:, :f * 9].reshape(net.tail.weight.shape))
    net.tail.bias.copy_(w[:, -1])
    nearest_(net.base, net.scale)
    net.base.weight.add_(w[:, f * 9:-1].reshape(net.base.weight.shape))
