"""The page on training runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import spa  # noqa: E402
import spa.torch  # noqa: E402
from spa.torch.registry import OPERATORS  # noqa: E402

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "train_in_torch.md"


def test_the_page_runs(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "models" / "digits.onnx", "model.onnx")
    shutil.copy(ROOT / "models" / "digits_calib.npz", "calib.npz")
    spa.prune("model.onnx", ratio=0.5, calib="calib.npz").save("slim.onnx")
    first, second = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    ran: dict = {}
    exec(first, ran)  # the code of our own page
    before = spa.torch.load("slim.onnx")
    after = spa.torch.load("healed.onnx")
    mse = torch.nn.functional.mse_loss
    with torch.no_grad():
        losses = [mse(m(ran["images"]), ran["wanted"]) for m in (before, after)]
    assert losses[1] < losses[0]
    try:
        exec(second, ran)
    finally:
        OPERATORS.pop(("my.domain", "Thing"), None)
