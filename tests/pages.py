"""The pages of the documentation as tests read them: fenced blocks and tables, with the place where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_CELL_END = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        section: the heading above it.
        language: the first word after the fence; `title` is the rest, in our pages the name of a file.
    """

    place: str
    section: str
    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Row:
    """A row of a table: `cells` by the words of its head, `\\|` read as `|`."""

    place: str
    section: str
    cells: dict[str, str]

    def code(self, column: str) -> str:
        """What stands in backquotes in a column, which has nothing else."""
        text = self.cells[column]
        assert text.startswith("`"), f"{self.place}: no code in {column}: {text}"
        assert text.endswith("`"), f"{self.place}: no code in {column}: {text}"
        return text[1:-1]

    def codes(self, column: str) -> list[str]:
        """Everything that stands in backquotes in a column."""
        return _CODE.findall(self.cells[column])


class Page:
    """A page in Markdown, named by its path in the project."""

    def __init__(self, path: str) -> None:
        self.path = ROOT / path
        self.blocks: list[Block] = []
        self.rows: list[Row] = []
        self.prose: list[str] = []
        self._read(path)

    def _read(self, name: str) -> None:
        lines = enumerate(self.path.read_text().splitlines(), 1)
        section = ""
        head: list[str] = []
        for number, line in lines:
            place = f"{name}:{number}"
            if line.startswith("```"):
                language, _, title = line.strip("`").partition(" ")
                self.blocks.append(Block(place, section, language, title, _until_fence(lines)))
            elif line.startswith("|"):
                cells = [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(line)[1:-1]]
                if not head:
                    head = cells
                elif not set(line) <= set("|-: "):
                    assert len(cells) == len(head), f"{place}: {len(cells)} cells under {len(head)} heads"
                    self.rows.append(Row(place, section, dict(zip(head, cells, strict=True))))
            else:
                head = []
                if line.startswith("#"):
                    section = line.lstrip("# ")
                self.prose.append(line)

    def blocks_in(self, language: str, section: str | None = None) -> list[Block]:
        return [b for b in self.blocks if b.language == language and section in (None, b.section)]

    def rows_with(self, *columns: str) -> list[Row]:
        """The rows of all tables that have just these columns, in this order."""
        found = [row for row in self.rows if tuple(row.cells) == columns]
        assert found, f"{self.path.name} has no table with the columns {columns}"
        return found

    def links(self) -> list[str]:
        """Links to other files of the project."""
        return [link for link in _LINK.findall("\n".join(self.prose)) if "://" not in link]

    def inline_code(self) -> list[str]:
        """What stands in backquotes outside blocks and tables; a line's end in it is a space."""
        return [code.replace("\n", " ") for code in _CODE.findall("\n".join(self.prose))]


def _until_fence(lines: Iterator[tuple[int, str]]) -> str:
    taken = []
    for _, line in lines:
        if line.startswith("```"):
            break
        taken.append(line + "\n")
    return "".join(taken)
