"""Other views of pictures: the same pixels, shifted and perhaps mirrored, in every layout."""

from __future__ import annotations

import numpy as np
import pytest

from spa.probes.pictures import Picture
from spa.probes.probe import Stream
from spa.probes.vary import REACH, varied

SIDE = 16
LAYOUTS = {
    "first": Picture(3, SIDE, SIDE),
    "last": Picture(3, SIDE, SIDE, last=True),
    "flat": Picture(3, SIDE, SIDE, last=True, flat=True),
    "grey": Picture(1, SIDE, SIDE),
}


def given(picture, rows=64):
    """Pixels that say where they were: row, channel, height, width; and what the model takes."""
    sizes = (rows, picture.channels, SIDE, SIDE)
    pixels = np.arange(np.prod(sizes), dtype=np.float64).reshape(sizes)
    shape = (SIDE, SIDE, picture.channels) if picture.last else (picture.channels, SIDE, SIDE)
    return pixels, picture.arrange(pixels, (int(np.prod(shape)),) if picture.flat else shape)


def stream(name, array, picture):
    return Stream(name, array.dtype, array.shape, 0, lambda rows, shape: array, (), picture)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_views_are_shifted_by_a_little_and_mirrored_in_colour(layout):
    picture = LAYOUTS[layout]
    pixels, array = given(picture)
    kept = array.copy()
    made = varied({"x": array}, [stream("x", array, picture)], np.random.default_rng(0))["x"]
    assert made.shape == array.shape and made.dtype == array.dtype and (array == kept).all()
    seen = picture.pixels(made)
    far = SIDE // REACH
    middle = seen[:, :, far:-far, far:-far]  # nothing of it was moved in
    row, channel, y, x = np.unravel_index(middle.astype(int), pixels.shape)
    assert (row == np.arange(64)[:, None, None, None]).all()
    assert (channel == np.arange(picture.channels)[:, None, None]).all()
    down = y - np.arange(far, SIDE - far)[:, None]
    assert (down == down[:, :1, :1, :1]).all() and {*down[:, 0, 0, 0]} == set(range(-far, far + 1))
    mirrored = x[:, 0, 0, 0] > x[:, 0, 0, -1]
    assert (0 < mirrored.sum() < 64) == (picture.channels == 3)


def test_inputs_of_one_row_are_moved_alike_and_others_stay():
    picture = Picture(3, SIDE, SIDE)
    _, array = given(picture)
    other = np.arange(64.0)
    feeds = {"left": array, "right": array + 1, "known": other}
    streams = [
        stream("left", array, picture),
        stream("right", array, picture),
        stream("known", other, None),
    ]
    made = varied(feeds, streams, np.random.default_rng(0))
    assert (made["right"] == made["left"] + 1).all() and (made["left"] != array).any()
    assert made["known"] is other
    again = varied(feeds, streams, np.random.default_rng(0))
    assert (again["left"] == made["left"]).all()
    assert varied({"known": other}, streams[2:], np.random.default_rng(0)) == {"known": other}
