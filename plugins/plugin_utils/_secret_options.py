# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a task's arguments are secret: options that are ``no_log``, under any of their names, also inside of other options. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import looks_like_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import MASK

Spec = Mapping[str, Any]


def _option(spec: Spec, name: str) -> Spec:
    """The option that a user calls by this name."""
    found: Iterator[Spec] = (
        option for known, option in spec.items() if name == known or name in _aliases(option)
    )
    return next(found, {})


def _aliases(option: Spec) -> tuple[str, ...]:
    return tuple(option.get("aliases") or ())


def masked(spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with :data:`MASK` in the place of what is secret: some callbacks write down what they are handed."""
    return {name: _masked(_option(spec, str(name)), value) for name, value in given.items()}


def _masked(option: Spec, value: Any) -> Any:
    if option.get("no_log"):
        return MASK
    inner = option.get("options")
    if inner and isinstance(value, Mapping):
        return masked(inner, value)
    if inner and isinstance(value, (list, tuple)):
        return [_masked(option, item) for item in value]
    # A text in the place of a mapping (key=value, JSON) is not looked into.
    return MASK if inner and isinstance(value, str) else value


def _secrets(spec: Spec, given: Mapping[str, Any]) -> Iterator[Any]:
    """What is given to secret options."""
    for name, value in given.items():
        option = _option(spec, str(name))
        inner = option.get("options")
        items = value if isinstance(value, (list, tuple)) else [value]
        if option.get("no_log"):
            yield value
        elif inner:
            for item in items:
                yield from _secrets(inner, item) if isinstance(item, Mapping) else ()


def _is_value(item: Any, public: Set[str]) -> bool:
    if isinstance(item, Mapping):
        return any(_is_value(held, public) for name, held in item.items() if name != "username")
    if isinstance(item, str) and item in public:
        return False
    return item not in (None, "") and not looks_like_reference(item)


def holds_values(spec: Spec, given: Mapping[str, Any], public: Set[str] = frozenset()) -> bool:
    """Whether an option that is kept from logs holds a value itself, and not a reference to one.

    :param public: texts that are no values.
    """
    return any(_is_value(item, public) for item in _secrets(spec, given))
