"""A module of one's own, narrowed, computes what the pruned file does, whatever it is made of."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import onnxruntime
import pytest

import spa
import spa.torch
from spa.errors import UsageError

torch = pytest.importorskip("torch")
if hasattr(torch.nn, "Buffer"):  # from torch 2.5 on; before, exporting needs nothing else
    pytest.importorskip("onnxscript")
nn = torch.nn

torch.set_num_threads(1)


def flat(*parts):
    return nn.Sequential(*parts, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 3))


class Scaled(nn.Module):
    """Parameters and buffers of one's own."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.gain = nn.Parameter(torch.rand(16) + 0.5)
        self.register_buffer("offset", torch.rand(16))

    def forward(self, x):
        return self.last(torch.relu(self.first(x) * self.gain + self.offset))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.inner, self.last = (
            nn.Embedding(20, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 3),
        )

    def forward(self, x):
        return self.last(torch.relu(self.inner(self.table(x))).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.cell = kind(6, 16, batch_first=True, **settings)
        self.last = nn.Linear(32 if settings.get("bidirectional") else 16, 3)

    def forward(self, x):
        return self.last(self.cell(x)[0])


def image(*shape):
    return torch.rand(4, *shape)


NETS = {
    "linear": lambda: (nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), image(6)),
    "no bias": lambda: (
        nn.Sequential(nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 3, bias=False)),
        image(6),
    ),
    "layer norm": lambda: (
        nn.Sequential(
            nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 3)
        ),
        image(5, 6),
    ),
    "conv1d": lambda: (flat(nn.Conv1d(2, 16, 3), nn.PReLU(16), nn.Conv1d(16, 12, 3)), image(2, 12)),
    "grouped": lambda: (
        flat(nn.Conv1d(2, 16, 3), nn.ReLU(), nn.Conv1d(16, 16, 3, groups=4), nn.Conv1d(16, 12, 1)),
        image(2, 12),
    ),
    "depthwise": lambda: (
        flat(
            nn.Conv1d(2, 16, 3), nn.BatchNorm1d(16), nn.Conv1d(16, 16, 3, groups=16),
            nn.ReLU(), nn.Conv1d(16, 12, 1),
        ),
        image(2, 12),
    ),
    "transposed": lambda: (
        flat(nn.ConvTranspose1d(2, 16, 3), nn.ReLU(), nn.ConvTranspose1d(16, 12, 3)),
        image(2, 12),
    ),
    "conv3d": lambda: (
        nn.Sequential(
            nn.Conv3d(1, 16, 2), nn.BatchNorm3d(16), nn.ReLU(), nn.Conv3d(16, 4, 2),
            nn.Flatten(), nn.Linear(32, 3),
        ),
        image(1, 4, 4, 4),
    ),
    "own": lambda: (Scaled(), image(6)),
    "embedding": lambda: (Words(), torch.randint(0, 20, (4, 7))),
    "lstm": lambda: (Recurrent(nn.LSTM), image(7, 6)),
    "gru": lambda: (Recurrent(nn.GRU), image(7, 6)),
    "rnn": lambda: (Recurrent(nn.RNN), image(7, 6)),
    "bidirectional": lambda: (Recurrent(nn.LSTM, bidirectional=True), image(7, 6)),
}  # fmt: skip


FAST = {"scorer": "l2", "repair": "full", "samples": 16, "verify": "none"}


def export(net, x, path, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "dynamo" in inspect.signature(torch.onnx.export).parameters:  # from torch 2.5 on
            settings["dynamo"] = False
        names = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(net.eval(), (x,), path, **names, **settings)


def ran(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options).run(None, {"x": x.numpy()})[0]


def widened(net):
    """Statistics and scales as after training, so that no two vectors are alike."""
    for parameter in (*net.parameters(), *net.buffers()):
        if parameter.is_floating_point() and parameter.dim() == 1:
            parameter.data = torch.rand_like(parameter) + 0.2
    return net


@pytest.mark.parametrize("name", NETS)
def test_a_narrow_module_computes_what_the_pruned_file_does(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net, x = NETS[name]()
    export(widened(net), x, "net.onnx")
    result = spa.prune("net.onnx", 0.4, **FAST, output="s.onnx")
    small = spa.torch.cut(net, result)
    with torch.no_grad():
        got, before = small(x).numpy(), net(x).numpy()
    wanted = ran("s.onnx", x)
    np.testing.assert_allclose(got, wanted, atol=1e-5 + 1e-4 * wanted.std())
    assert np.abs(got - before).max() > 1e-4 * wanted.std()
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    for part in small.modules():  # what a module says of itself is what its weight is
        if isinstance(part, nn.Linear):
            assert part.weight.shape == (part.out_features, part.in_features)
        if isinstance(part, nn.Conv1d | nn.Conv3d):
            assert part.weight.shape[:2] == (part.out_channels, part.in_channels // part.groups)
        if isinstance(part, nn.RNNBase):
            assert part.weight_hh_l0.shape[1] == part.hidden_size
    again = spa.torch.cut(net, result, inplace=True)
    assert again is net
    with torch.no_grad():
        assert np.array_equal(net(x).numpy(), got)


def test_what_a_module_ties_together_is_refused_by_name(tmp_path, monkeypatch):
    """Attention of torch is as wide inside as outside, and a plan may want something else."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.last = (
                nn.MultiheadAttention(16, 4, batch_first=True),
                nn.Linear(16, 3),
            )

        def forward(self, x):
            return self.last(self.attend(x, x, x, need_weights=False)[0])

    net, x = Net().train(), image(5, 16)
    export(net, x, "net.onnx")
    plan = spa.plan("net.onnx", 0.3, scorer="l2", rotate=False).plan
    with pytest.raises(UsageError, match=r"attend\.in_proj_weight cannot be cut: .* --ignore"):
        spa.torch.cut(net, plan, export="net.onnx")
    assert net.attend.in_proj_weight.shape == (48, 16)


def test_the_old_way_loses_what_the_refit_gained(tmp_path, monkeypatch):
    """Positions alone are a cut without its repair; with the pruned model's numbers it is whole."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3)), torch.randn(64, 4)
    export(net, x, "net.onnx", dynamic_axes={"x": {0: "N"}})
    result = spa.prune("net.onnx", 0.5, **{**FAST, "samples": None}, calib=x.numpy())
    with torch.no_grad():
        whole = net(x)
        bare = spa.torch.cut(net, result.plan, export="net.onnx")(x)
        full = spa.torch.cut(net, result)(x)
    assert (full - whole).norm() < 0.5 * (bare - whole).norm()


def test_a_wrapper_is_cut_with_what_it_wraps(tmp_path, monkeypatch):
    """By value, and by its names alone."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net, x = NETS["linear"]()
    export(net, x, "net.onnx")
    plan = spa.plan("net.onnx", 0.4, scorer="l2", rotate=False).plan
    wanted = spa.torch.cut(net, plan)(x)
    for more in ({"export": "net.onnx"}, {}):
        wrapped = spa.torch.cut(nn.DataParallel(net), plan, **more)
        assert type(wrapped) is nn.DataParallel
        assert torch.equal(wrapped.module(x), wanted)
