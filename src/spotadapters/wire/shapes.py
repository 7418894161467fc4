"""How bodies and queries are declared. They are made, shown and forgotten: nobody compares or prints them, and each
start would make what that takes two hundred times (decision 0026)."""

from typing import TypeVar, dataclass_transform

import attrs

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
def shape(kind: type[T]) -> type[T]:
    """A frozen class of keywords, as ``attrs.frozen`` makes it, without comparison and text of its own."""
    return attrs.frozen(kw_only=True, eq=False, repr=False)(kind)
