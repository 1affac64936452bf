"""Train, export and measure the two sample models in models/.

    train_sample.py --model digits                    (15 seconds)
    train_sample.py --model fashion --data FOLDER     (20 minutes, one core)

Fashion-MNIST (Zalando SE, MIT) is read from the four idx .gz files of its authors; on Debian and
Ubuntu `apt-get install dataset-fashion-mnist` puts them where --data looks by default.  Digits
(8 x 8, UCI, CC BY 4.0) come with scikit-learn.  The schedule is fixed and the last epoch is
exported: nothing is chosen on test images.  Needs torch, onnx, onnxruntime and scikit-learn.
"""

from __future__ import annotations

import argparse
import gzip
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from evaluate import predict
from sample_networks import Block, network
from torch import Tensor, nn

CALIBRATION = 256  # training images carried for calibration, never test images


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained."""

    blocks: tuple[Block, ...]
    head: int
    epochs: int
    batch: int
    rate: float
    shift: int  # pixels, in every direction
    flip: bool
    carried: int  # test images in models/*_eval.npz
    source: str


FASHION = Recipe(
    blocks=(("residual", 16, 1), ("residual", 32, 2), ("residual", 32, 1),
            ("inverted", 64, 2), ("inverted", 64, 1), ("inverted", 64, 1)),
    head=128, epochs=14, batch=128, rate=0.1, shift=2, flip=True, carried=2000,
    source="Fashion-MNIST, Zalando SE, MIT licence",
)  # fmt: skip
DIGITS = Recipe(
    blocks=(("residual", 16, 1), ("residual", 24, 2), ("inverted", 24, 1)),
    head=32, epochs=60, batch=64, rate=0.05, shift=1, flip=False, carried=500,
    source="UCI Optical Recognition of Handwritten Digits (scikit-learn), CC BY 4.0",
)  # fmt: skip
RECIPES = {"fashion": FASHION, "digits": DIGITS}


@dataclass(frozen=True)
class Data:
    """Images are uint8, N x 1 x H x W; a model sees `images / scale`."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    scale: int


def fashion(folder: Path) -> Data:
    """The 60,000 training and 10,000 test images in their published order."""

    def idx(name: str, header: int) -> np.ndarray:
        raw = gzip.decompress((folder / name).read_bytes())
        return np.frombuffer(raw, np.uint8, offset=header)

    images = [idx(f"{part}-images-idx3-ubyte.gz", 16) for part in ("train", "t10k")]
    labels = [idx(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    train, test = (pixels.reshape(-1, 1, 28, 28) for pixels in images)
    return Data(train, labels[0], test, labels[1], scale=255)


def digits(seed: int) -> Data:
    """1,297 training and 500 test images, split by the seed."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images, labels = pixels.astype(np.uint8).reshape(-1, 1, 8, 8), labels.astype(np.uint8)
    test, train = np.split(np.random.default_rng(seed).permutation(len(images)), [500])
    return Data(images[train], labels[train], images[test], labels[test], scale=16)


def augment(x: Tensor, shift: int, flip: bool) -> Tensor:
    """Every image moved by up to `shift` pixels, and mirrored half of the time."""
    count, _, height, width = x.shape
    padded = nn.functional.pad(x, (shift,) * 4)
    rows = torch.randint(2 * shift + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * shift + 1, (count, 1)) + torch.arange(width)
    if flip:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    which = torch.arange(count)[:, None, None]
    return padded[which, 0, rows[:, :, None], columns[:, None, :]][:, None]


def train(recipe: Recipe, data: Data) -> nn.Module:
    """SGD with one cycle of the learning rate."""
    images = torch.tensor(data.train) / data.scale
    labels = torch.tensor(data.train_labels).long()
    model = network(recipe.blocks, recipe.head, images)
    sgd = torch.optim.SGD(
        model.parameters(), recipe.rate, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    steps = len(images) // recipe.batch
    cycle = torch.optim.lr_scheduler.OneCycleLR(sgd, recipe.rate, recipe.epochs * steps)
    for epoch in range(recipe.epochs):
        start, total = time.monotonic(), 0.0
        for batch in torch.randperm(len(images))[: steps * recipe.batch].split(recipe.batch):
            logits = model(augment(images[batch], recipe.shift, recipe.flip))
            loss = nn.functional.cross_entropy(logits, labels[batch])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            cycle.step()
            total += loss.item()
        seconds = time.monotonic() - start
        print(f"epoch {epoch + 1:3}  loss {total / steps:.4f}  {seconds:.0f} s", flush=True)
    return model.to(memory_format=torch.contiguous_format).eval()


def export(model: nn.Module, path: Path, size: tuple[int, ...], notes: dict[str, str]) -> None:
    """Inference mode, yet every BatchNormalization is kept as a node of its own."""
    torch.onnx.export(
        model, (torch.zeros(1, *size),), str(path),
        dynamo=False, opset_version=17, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        input_names=["images"], output_names=["logits"],
        dynamic_axes={"images": {0: "N"}, "logits": {0: "N"}},
    )  # fmt: skip
    written = onnx.load(path)
    onnx.helper.set_model_props(written, notes)
    onnx.checker.check_model(written, full_check=True)
    onnx.save(written, path)


def main() -> None:
    """Train one model; write it, its evaluation set and its calibration images."""
    parser = argparse.ArgumentParser(description="Train and export a sample model.")
    parser.add_argument("--model", required=True, choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, default="/usr/share/datasets/fashion-mnist",
                        help="folder of the Fashion-MNIST .gz files")  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "models")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # more would give other bits
    torch.use_deterministic_algorithms(True)

    recipe = RECIPES[options.model]
    data = fashion(options.data) if options.model == "fashion" else digits(options.seed)
    model, place = train(recipe, data), options.output / options.model
    notes = {"source": recipe.source, "input": f"pixels / {data.scale}", "seed": str(options.seed)}
    export(model, place.with_suffix(".onnx"), data.test.shape[1:], notes)

    draw = np.random.default_rng(options.seed)
    some = np.sort(draw.permutation(len(data.test))[: recipe.carried])
    np.savez_compressed(f"{place}_eval.npz", images=data.test[some],
                        labels=data.test_labels[some], scale=data.scale)  # fmt: skip
    seen = np.sort(draw.permutation(len(data.train))[:CALIBRATION])
    np.savez_compressed(f"{place}_calib.npz", images=data.train[seen] / np.float32(data.scale))

    right = predict(f"{place}.onnx", data.test / np.float32(data.scale)) == data.test_labels
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; top-1 {right.mean():.2%} "
          f"of {len(right)} test images, {right[some].mean():.2%} of the carried")  # fmt: skip


if __name__ == "__main__":
    main()
