"""A tiny evaluator of combinational BLIF: a net is an integer, its bit ``s`` the value in sample ``s``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class BlifCircuit:
    """Tables read from BLIF lines; nets are computed when asked for."""

    def __init__(self, lines: Iterable[str], inputs: Mapping[str, int], samples: int) -> None:
        self._all = (1 << samples) - 1
        self._values = dict(inputs)
        self._tables: dict[str, tuple[Sequence[str], list[str]]] = {}
        rows: list[str] = []
        for line in lines:
            if line.startswith(".names"):
                *sources, result = line.split()[1:]
                assert result not in self._tables, f"{result} is driven twice"
                assert result not in inputs, f"{result} is an input and driven"
                rows = []
                self._tables[result] = (sources, rows)
            else:
                rows.append(line)

    def __getitem__(self, net: str) -> int:
        if net not in self._values:
            sources, rows = self._tables[net]
            values = [self[source] for source in sources]
            self._values[net] = 0
            for row in rows:
                self._values[net] |= self._matches(values, row)
        return self._values[net]

    def _matches(self, values: Sequence[int], row: str) -> int:
        pattern, _, output = row.rpartition(" ")
        assert output == "1", f"only the rows of ones are written: {row}"
        assert len(pattern) == len(values), row
        found = self._all
        for value, wanted in zip(values, pattern, strict=True):
            if wanted != "-":
                found &= value if wanted == "1" else ~value & self._all
        return found
