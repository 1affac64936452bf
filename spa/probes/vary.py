"""Other views of the same pictures: shifted a little, and in colour perhaps mirrored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spa.probes.pictures import Picture
from spa.probes.probe import Array, Stream

REACH = 8
"""Pictures are shifted by at most one of so many parts of a side; what moves in is mirrored."""


def varied(
    feeds: Mapping[str, Array], streams: Sequence[Stream], random: np.random.Generator
) -> dict[str, Array]:
    """The inputs of one run with each row of pictures seen another way; others stay.

    Inputs of one row, as the two eyes of a stereo net, are all moved alike.

    Args:
        feeds: by input, `[rows, ...]` along the axis of its stream.
        streams: of the probe that made them.
        random: what is drawn from.

    Returns:
        Arrays of the same shapes and types.
    """
    seen = [s for s in streams if s.picture is not None and s.axis is not None]
    if not seen:
        return dict(feeds)
    rows = feeds[seen[0].name].shape[seen[0].axis or 0]
    shifts, turned = random.uniform(-1, 1, (rows, 2)), random.uniform(size=(rows,)) < 0.5
    found = dict(feeds)
    for stream in seen:
        assert stream.picture is not None and stream.axis is not None
        given = np.moveaxis(feeds[stream.name], stream.axis, 0)
        moved = _moved(given, stream.picture, shifts, turned)
        found[stream.name] = np.ascontiguousarray(np.moveaxis(moved, 0, stream.axis))
    return found


def _moved(given: Array, picture: Picture, shifts: Array, turned: Array) -> Array:
    """Rows of pictures, each shifted by its share of the reach, and mirrored where it is said."""
    pixels = picture.pixels(given)
    size = pixels.shape[2:]
    reach = [side // REACH for side in size]
    wide = np.pad(pixels, ((0, 0), (0, 0), *((far, far) for far in reach)), "reflect")
    made = np.empty_like(pixels)
    for row, (shift, mirror) in enumerate(zip(shifts, turned, strict=True)):
        y, x = (far + round(far * part) for far, part in zip(reach, shift, strict=True))
        view = wide[row, :, y : y + size[0], x : x + size[1]]
        # Letters and digits, which are mostly grey, are not the same from behind.
        made[row] = view[..., ::-1] if mirror and picture.channels == 3 else view
    return picture.arrange(made, given.shape[1:])
