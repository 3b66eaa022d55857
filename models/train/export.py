#!/usr/bin/env python3
"""Write ONNX (opset 17, IR 8, dynamic height and width, fp32) from a checkpoint, and check it against PyTorch.

  export.py CHECKPOINT.pt... OUT.onnx

Of several, runs that went on from each other, it is the mean of their weights: between two such it is better than either.

Every convolution's weights keep plain names (head_w, body0_w ...), so that a later training run can start from the file.
"""
import sys

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from net import Net


def build(net):
    nodes, weights = [], []

    def conv(x, name, module):
        for kind, t in (('w', module.weight), ('b', module.bias)):
            weights.append(numpy_helper.from_array(np.ascontiguousarray(t.detach().numpy()), f'{name}_{kind}'))
        nodes.append(helper.make_node('Conv', [x, f'{name}_w', f'{name}_b'], [name], name=name,
                                      kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]))
        return name

    def op(kind, ins, out, **attrs):
        nodes.append(helper.make_node(kind, ins, [out], name=out, **attrs))
        return out

    h = r = op('Relu', [conv('input', 'head', net.head)], 'head_relu')
    for i, c in enumerate(net.body):
        y = op('Relu', [conv(h, f'body{i}', c)], f'body{i}_relu')
        h = op('Add', [y, h], f'skip{i}') if i in net.adds else y
    h = op('Add', [conv(h, 'mid', net.mid), r], 'trunk')
    h = op('Add', [conv(h, 'tail', net.tail), conv('input', 'base', net.base)], 'subpixels')
    op('DepthToSpace', [h], 'output', blocksize=net.scale, mode='CRD')
    graph = helper.make_graph(
        nodes, 'lastmile',
        [helper.make_tensor_value_info('input', TensorProto.FLOAT, [1, 3, 'h', 'w'])],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT, [1, 3, 'H', 'W'])], weights)
    model = helper.make_model(graph, producer_name='lastmile', opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def radius(net):
    """Exact receptive radius in input pixels: one per 3x3 convolution along the longest path."""
    return 1 + len(net.body) + 1 + 1


def main():
    *files, out = sys.argv[1:]
    cks = [torch.load(f, map_location='cpu', weights_only=True) for f in files]
    net = Net(**cks[0]['cfg']).eval()
    net.load_state_dict({k: sum(ck['ema'][k] for ck in cks) / len(cks) for k in cks[0]['ema']})
    onnx.save(build(net), out)
    x = torch.rand(1, 3, 37, 53)
    want = net(x).detach().numpy()
    got = ort.InferenceSession(out, providers=['CPUExecutionProvider']).run(None, {'input': x.numpy()})[0]
    print(f'{out}: {net.cfg}, radius {radius(net)} px, max difference {np.abs(want - got).max():.2e}')
    assert np.abs(want - got).max() < 1e-4


if __name__ == '__main__':
    main()
