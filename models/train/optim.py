"""SOAP: Adam in the slowly turning eigenbasis of each kernel's gradient covariance (Vyas et al. 2024, arXiv:2409.11321).

Kernels here are small matrices (32 x 288), so the eigenbases cost a few per cent of a step, and a step is worth several
of Adam's.
"""
import torch


class Soap(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.95, 0.95), eps=1e-8, every=10):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, every=every))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group['betas']
            for p in group['params']:
                g = p.grad.reshape(p.shape[0], -1)
                st = self.state[p]
                if not st:
                    st['n'] = 0
                    st['m'], st['v'] = torch.zeros_like(g), torch.zeros_like(g)
                    if p.dim() > 1:
                        st['l'], st['r'] = g @ g.T, g.T @ g
                        st['ql'], st['qr'] = basis(st['l']), basis(st['r'])
                        continue  # The first gradient only sets the basis.
                st['n'] += 1
                st['m'].lerp_(g, 1 - b1)
                whole = p.dim() > 1
                turn = (lambda a: st['ql'].T @ a @ st['qr']) if whole else (lambda a: a)
                back = (lambda a: st['ql'] @ a @ st['qr'].T) if whole else (lambda a: a)
                gt = turn(g)
                st['v'].lerp_(gt * gt, 1 - b2)
                c1, c2 = 1 - b1 ** st['n'], 1 - b2 ** st['n']
                u = back((turn(st['m']) / c1) / ((st['v'] / c2).sqrt() + group['eps']))
                p.add_(u.reshape(p.shape), alpha=-group['lr'])
                if whole:
                    st['l'].lerp_(g @ g.T, 1 - b2)
                    st['r'].lerp_(g.T @ g, 1 - b2)
                    if st['n'] % group['every'] == 0:
                        refresh(st)


def basis(a):
    return torch.linalg.eigh(a + 1e-12 * torch.eye(len(a)))[1].flip(1)


def refresh(st):
    """One step of orthogonal iteration; the second moments follow the order of their directions."""
    for side, q, dim in (('l', 'ql', 0), ('r', 'qr', 1)):
        est = (st[q].T @ st[side] @ st[q]).diagonal()
        order = est.argsort(descending=True)
        st['v'] = st['v'].index_select(dim, order)
        st[q] = torch.linalg.qr(st[side] @ st[q][:, order])[0]
