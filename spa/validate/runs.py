"""A model that is run at several sizes, with sessions that are made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from spa import runtime
from spa.devices import Device

Arrays = Mapping[str, NDArray[Any]]


class Runner:
    """Runs one model, with onnxruntime's optimizer or without."""

    def __init__(self, model: ModelProto, base_dir: Any, device: Device) -> None:
        self.model, self.base_dir, self.device = model, base_dir, device
        self._sessions: dict[bool, Any] = {}
        self._last: tuple[Arrays, bool, dict[str, Any]] | None = None

    def __call__(self, feeds: Arrays, optimize: bool) -> dict[str, Any]:
        """The outputs by name, known already where the last run was the same.

        Raises ReadError where onnxruntime refuses the model or the inputs.
        """
        if self._last is not None and self._last[0] is feeds and self._last[1] == optimize:
            return self._last[2]
        if optimize not in self._sessions:
            self._sessions[optimize] = runtime.session(
                self.model, optimize=optimize, device=self.device, base_dir=self.base_dir
            )
        found = runtime.run(self._sessions[optimize], feeds)
        self._last = feeds, optimize, found
        return found

    def of(self, model: ModelProto) -> Runner:
        """The same for another model with the same external data."""
        return self if model is self.model else Runner(model, self.base_dir, self.device)
