# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the leak search: what every run searched, in which places, and what was planted and found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from show.leaks import forms

COMMAND = "KEYTURN_PAGE=docs/leaks.md scripts/pytest leaks tests/leaks"
FORMS = list(forms("any"))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """A table whose first columns are words, the others numbers."""
    lines = [titles, ["---"] * words + ["---:"] * (len(titles) - words), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1000:.0f}" if size >= 1000 or not size else f"{size / 1000:.1f}"


def _and(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Two cells as one."""
    if one is None:
        return other
    hits, most = [*one["hits"], *other["hits"]], max(one["secrets"], other["secrets"])
    return {**other, "size": one["size"] + other["size"], "secrets": most, "hits": hits}


def searched(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of flows and places."""
    places = list(dict.fromkeys(row["place"] for row in rows))
    flows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        # The runs of a matrix are one line.
        cells = flows.setdefault(row["flow"], {})
        cells[row["place"]] = _and(cells.get(row["place"]), row)
    lines = []
    for flow, cells in sorted(flows.items()):
        sizes = [_size(cells[place]["size"] if place in cells else None) for place in places]
        known = max(cell["secrets"] for cell in cells.values())
        hits = sum(len(cell["hits"]) for cell in cells.values())
        lines.append([flow, *sizes, f"{known} x {len(FORMS)}", str(hits)])
    return _table(["flow", *places, "secrets x forms", "hits"], lines)


def planted(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of what was put into each place on purpose."""
    lines = [
        [row["place"], row["defect"], f"{row['found']} of {row['forms']}"]
        for row in sorted(rows, key=lambda row: str(row["place"]))
    ]
    return _table(["place", "what is planted there", "forms found"], lines, words=2)


PAGE = """# Where secrets were searched for

Every flow and every failure runs under detectors of all places that a value could get to. Afterwards each place is searched for
every secret that the run knew or made: passwords, SCRAM verifiers and the salt of every version of the keyring, the administrators'
passwords, tokens, stream keys. Each is searched for in {number} forms: {forms}.

Numbers are thousands of bytes that were searched; an empty cell is a place that this flow does not have. This page is not written
by hand, but by

```console
$ {command}
```

`KEYTURN_SOAK=1` adds every strategy with every way of PgBouncer's, every failure in every way to run modules, with and without
ANSIBLE_DEBUG, and every point of the [faults](faults.md).

{searched}

What may be where:

- PostgreSQL's log has SCRAM verifiers in statements that set one (`PASSWORD 'SCRAM-SHA-256$…'`): the server is sent them instead
  of passwords. Nothing else, and nowhere else in it.
- PgBouncer's log has, with `verbose` above 0, what PgBouncer itself stores of a user who logs in (`stored secret = …`): verifiers, be
  they from its userlist or by `auth_query`, and its own administrator's password. Nothing else, and nowhere else in it.
- The keyring, the env files and PgBouncer's userlist are there to hold secrets: they are only searched when others than their owner
  can read them, or could at any moment since they were made.
- Sinks on servers (a parameter of AWS, a field in Vault, a Kubernetes Secret) hold the value that they are given. What their servers
  keep of it is not searched; everything that they write to their logs is. Vault's audit log names values by their HMAC alone.
- An ingest with its usual settings writes down each key that is sent to it (see [stream-keys.md](stream-keys.md)). Here it is told not
  to, and nothing of a key is in its logs.

A flow joins with `with watch.over("its name"): …` around whatever runs it (`tests/support/leaks/watch.py`); `watch.learn` gives the
secrets that it made.

## The detectors

In each place a value is planted on purpose, a different one in each form, and has to be found.

{planted}

- *output*: standard output and standard error at `-vvvv` with `--diff`.
- *command lines*, *environments*: of every program that is started, at `execve`, by strace.
- *files written*: every byte that any process of the run writes to any file, also one that is removed at once; names of files too.
- *files left*: below Ansible's home and temporary directories after the run.
- *journal*, *files left there*: of another machine that is managed; files below `/tmp`, `/var/tmp` and `/root` there.
- *files beside*: beside the files that are there to hold secrets, such as a successor that never took its place. After a kill
  one may be there, for its owner alone, until another run removes it.
- *sockets of the machine*: what is sent to other processes by local sockets, as to syslog.
- *readable by others*: files that others than their owner can read, now or at any moment since they were made.
- *logs of the stores*: of Vault, with its audit log, of the server that is AWS, and of Kubernetes's API server and etcd.
- *logs of the ingest*: of nginx with the RTMP module, and of the program that decides about keys there.
- *PostgreSQL's log*: with `log_statement = all` and `log_min_error_statement = error`. *PgBouncer's log*: with `verbose = 2`.
"""


def page(rows: Sequence[Mapping[str, Any]], defects: Sequence[Mapping[str, Any]]) -> str:
    """The whole page.

    :raises ValueError: when a place was searched and nothing was planted there.
    """
    unproved = {str(row["place"]) for row in rows} - {str(row["place"]) for row in defects}
    if unproved:
        raise ValueError(f"nothing is planted in: {', '.join(sorted(unproved))}")
    return PAGE.format(
        number=len(FORMS),
        forms=", ".join(FORMS),
        command=COMMAND,
        searched="\n".join(searched(rows)),
        planted="\n".join(planted(defects)),
    )
