"""All steps that random nets of every size are made of."""

from __future__ import annotations

from tests.nets import random_areas as areas
from tests.nets import random_choices as choices
from tests.nets import random_inputs as inputs
from tests.nets import random_positions as positions
from tests.nets import random_steps as plain
from tests.nets import random_tokens as tokens
from tests.nets import random_windows as windows

OWN_TOKENS = [*positions.OWN, *choices.TOKENS, *windows.TOKENS, *inputs.TOKENS_STEPS]
OWN_IMAGES = [*areas.OWN, *choices.IMAGES, *windows.IMAGES, *inputs.IMAGES_STEPS]

TOKENS = [
    *OWN_TOKENS, plain.layer, plain.layer, plain.activation, plain.add, plain.multiply,
    plain.residual, plain.concat, plain.gated, plain.sliced, plain.scaled, plain.chunked,
    plain.interleaved, tokens.feed_forward, tokens.convolution_1d,
]  # fmt: skip
IMAGES = [
    *OWN_IMAGES, plain.layer, plain.layer, plain.activation, plain.add, plain.residual,
    plain.concat, plain.gated, plain.sliced, plain.batch_norm, plain.grouped, plain.depthwise,
    plain.squeeze_excite, plain.prelu, plain.chunked,
]  # fmt: skip
