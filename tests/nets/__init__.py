"""Small nets for every test: motifs by name, and random mixtures of them."""

from tests.nets import (
    computed,
    convolutional,
    flow,
    fused,
    integer,
    mixtures,
    operators,
    picked,
    recurrent,
    sequential,
    structural,
)
from tests.nets.motif import MOTIFS, Motif
from tests.nets.net import BATCH, SIZES, Net
from tests.nets.random_net import random_net

FAMILIES = (
    convolutional,
    sequential,
    recurrent,
    structural,
    mixtures,
    operators,
    picked,
    computed,
    fused,
    integer,
    flow,
)

__all__ = ["BATCH", "FAMILIES", "MOTIFS", "SIZES", "Motif", "Net", "random_net"]
