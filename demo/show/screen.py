# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the person in front of the demo sees: headings, Ansible's output in few lines, and a table."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

WIDEST, NARROWEST = 100, 40
INDENT = "    "
DEEPER = INDENT + " " * 9
_HEADING = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:.* : )?(?P<name>.*?)\] \**$")
_RESULT = re.compile(
    r"^(?P<status>ok|changed|skipping|included|fatal|failed|unreachable): \[[^\]]*\]"
    r"(?:: [A-Z]+!)?(?: =>)?(?: \(item=(?P<item>[^)]*)\))?(?: =>)?\s*(?P<rest>.*)$"
)
_RECAP = re.compile(r"^\S+\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
_STEP = re.compile(r"^  \S+: .*\n?", re.MULTILINE)
_QUIET = ("skipping", "included")
# What such a task prints is its result: shown as it is.
_PRINTING = (
    "Show the state of all credentials",
    "Show what was made, and what was not",
    "Show what was found in all of them",
    "Look at every credential",
)
_OWN_TASKS = ("Validating arguments against arg spec", "Begin with nothing wrong")


def heading(text: str) -> str:
    """A heading with space around it."""
    return f"\n{text}\n{'-' * len(text)}"


def width() -> int:
    """How many characters a line of text may have."""
    columns = shutil.get_terminal_size((WIDEST, 24)).columns
    return max(NARROWEST, min(columns, WIDEST))


def paragraph(text: str) -> str:
    """A text in lines of the screen's width."""
    return textwrap.fill(" ".join(text.split()), width())


def indented(text: str) -> str:
    """A text in lines of the screen's width, all of them indented, and those after the first one more so."""
    return _filled(text, INDENT, f"{INDENT}  ")


def described(rows: Sequence[tuple[str, str]]) -> str:
    """Names with what each is, in two columns."""
    first = max(len(name) for name, _what in rows) + 2
    rest = INDENT + " " * first
    return "\n".join(
        _filled(" ".join(what.split()), INDENT + name.ljust(first), rest) for name, what in rows
    )


def _filled(text: str, first: str, others: str) -> str:
    """A text in lines of the screen's width that begin so; paths and names stay whole."""
    return textwrap.fill(
        text,
        width(),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


class Screen:
    """Shows lines as they come, and keeps them for the search at the end."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, text: str, end: str = "\n") -> None:
        """Show a text."""
        self._lines.append(text + end)
        print(text, end=end, flush=True)

    def text(self) -> str:
        """All that was shown."""
        return "".join(self._lines)


class Compact:
    """Ansible's output in few lines: one for each result, with its diff and message below.

    It reads results in one line of JSON each (``result_format = json``, ``format_pretty = false``). Left out are tasks that
    were skipped, what is of no interest to a person, and the lines of a diff that are the same on both sides.

    :param brief: only reports and what failed; where many credentials are worked on at once, their steps are mixed.
    :ivar ended: how often each task had a result.
    """

    def __init__(self, brief: bool = False) -> None:
        self._brief = brief
        self.ended: Counter[str] = Counter()
        self._task = ""
        self._diff: list[str] = []
        self._in_diff = False
        self._recap = False

    def feed(self, line: str) -> Iterator[str]:
        """The lines to show for one line of output."""
        line = line.rstrip()
        task = _HEADING.match(line)
        result = _RESULT.match(line)
        recap = _RECAP.match(line) if self._recap else None
        if task:
            self._task = task["name"]
        elif result:
            yield from self._result(result)
        elif recap and self._brief:
            return
        elif recap:
            changed, unreachable, failed = map(int, recap.groups())
            yield f"{INDENT}= {changed} changed, {failed + unreachable} failed"
        elif line.startswith("PLAY "):
            self._recap = line.startswith("PLAY RECAP")
        elif line.startswith("--- ") or (line and self._in_diff):
            # Ansible prints a diff before the result that it belongs to, and a blank line after it.
            self._in_diff = True
            self._diff.extend(_of_diff(line))
        elif self._task in _PRINTING and line:
            yield f"{INDENT}{line}"
        elif line.startswith("  "):
            yield from () if self._brief else _step(line.strip().partition(": ")[2])
        else:
            self._in_diff = False

    def _result(self, result: re.Match[str]) -> Iterator[str]:
        diff, self._diff, self._in_diff = self._diff, [], False
        status, item = result["status"], result["item"]
        self.ended[self._task] += 1
        if status in _QUIET or self._task.startswith(_OWN_TASKS):
            return
        if self._brief and status in ("ok", "changed"):
            return
        yield f"{INDENT}{status:<8} {self._task}{f': {item}' if item else ''}"
        yield from (f"{DEEPER}{line}" for line in diff)
        yield from (_wrapped(line) for line in _message(result["rest"]))


def _step(text: str) -> Iterator[str]:
    """A step that is begun. That one failed is told by the result of its task, too."""
    if text and not text.startswith("FAILED: "):
        yield _filled(text, f"{INDENT}...      ", DEEPER)


def _wrapped(line: str) -> str:
    """A line of a message; one of several keeps its own indentation."""
    indent = DEEPER + " " * (len(line) - len(line.lstrip()))
    return _filled(line.strip(), indent, indent)


def _of_diff(line: str) -> Iterator[str]:
    """What a person needs of a line of a diff: what it is about, and what differs."""
    if line.startswith("+++ after"):
        yield line.partition(": ")[2] or "the change"
    elif line.startswith(("+", "-")) and not line.startswith("--- "):
        yield f"  {line[0]} {line[1:]}"


def _message(rest: str) -> list[str]:
    """The lines of the message in a result; the text itself when it is something else than JSON."""
    try:
        found = json.loads(rest)
    except ValueError:
        return rest.strip().splitlines()
    message = found.get("msg", rest) if isinstance(found, dict) else rest
    return (
        [str(line) for line in message] if isinstance(message, list) else str(message).splitlines()
    )


def warnings(stderr: str) -> list[str]:
    """Ansible's warnings and errors, each once, in one line; without the steps that were told in between."""
    blocks = re.split(r"\n(?=\[)", _STEP.sub("", stderr).strip())
    texts = [" ".join(block.split()) for block in blocks if block.startswith("[")]
    return list(dict.fromkeys(texts))


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    last: Sequence[str] | None = None,
    left: bool = False,
) -> str:
    """A table: the first column to the left, the others, numbers, to the right; a last row below a ruler.

    :param left: all columns to the left: they are texts.
    """
    every = [titles, *rows, *([last] if last else [])]
    widths = [max(len(row[column]) for row in every) for column in range(len(titles))]

    def line(row: Sequence[str]) -> str:
        first, *others = row
        cells = [
            first.ljust(widths[0]),
            *(
                text.ljust(width) if left else text.rjust(width)
                for text, width in zip(others, widths[1:], strict=True)
            ),
        ]
        return "  ".join(cells).rstrip()

    ruler = "  ".join("-" * width for width in widths)
    body = [line(titles), ruler, *map(line, rows)]
    return "\n".join(body + ([ruler, line(last)] if last else []))
