"""Names and patterns of collections: `[database.]collection`, with the globs `*`, `?` and `[..]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from migrator.model.collection import CollectionRef
from migrator.spec.fault import Fault

# Milvus: a letter or underscore first; `$` is what proxy.nameValidation.allowedChars adds by default.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}")
_PATTERN = re.compile(r"(?:[A-Za-z0-9_$*?]|\[!?[A-Za-z0-9_$-]+\]){1,255}")
_GLOB = re.compile(r"[*?\[]")
_SEPARATORS = re.compile(r"[./\\\s]")
_NAME_HINT = "use letters, digits and underscores, a letter or underscore first, 255 characters at most"
_PATTERN_HINT = "use letters, digits, underscores and the globs *, ? and [a-z], as db1.books_*"


@dataclass(frozen=True, slots=True, order=True)
class NamePattern:
    """Which collections a mapping is about: one pattern for the database, one for the collection."""

    database: str
    collection: str

    @property
    def is_glob(self) -> bool:
        """Whether more than one name may match."""
        return bool(_GLOB.search(self.database) or _GLOB.search(self.collection))

    @property
    def exact(self) -> CollectionRef | None:
        """The one collection that is meant, or `None` for a glob."""
        return None if self.is_glob else CollectionRef(self.database, self.collection)

    def matches(self, ref: CollectionRef) -> bool:
        """Whether `ref` is meant; upper and lower case differ, as they do in Milvus."""
        return fnmatchcase(ref.database, self.database) and fnmatchcase(ref.name, self.collection)

    def __str__(self) -> str:
        return f"{self.database}.{self.collection}"


def parse_pattern(text: str) -> NamePattern:
    """Read a pattern, split at the first dot; without a database it means the default one.

    Raises:
        Fault: A part is empty, or can match no name that Milvus allows.
    """
    ref = CollectionRef.parse(text)
    for part in (ref.database, ref.name):
        if not part:
            raise Fault("has an empty database or collection name", "write collection or database.collection")
        if not (_PATTERN.fullmatch(part) if _GLOB.search(part) else _NAME.fullmatch(part)):
            raise Fault("is not a collection name or pattern that Milvus allows", _PATTERN_HINT)
    return NamePattern(ref.database, ref.name)


def parse_name(text: str) -> CollectionRef:
    """Read an exact name, split at the first dot; without a database it means the default one.

    Raises:
        Fault: Milvus allows no such name.
    """
    ref = CollectionRef.parse(text)
    if not all(_NAME.fullmatch(part) for part in (ref.database, ref.name)):
        raise Fault("is not a collection name that Milvus allows", _NAME_HINT)
    return ref


def is_harmless(ref: CollectionRef) -> bool:
    """Whether a name that a server or a backup tells can stand in keys and on a terminal.

    A server may be set to allow more than `parse_name` does, but neither separators nor what is not printed.
    """
    return all(part and part.isprintable() and not _SEPARATORS.search(part) for part in (ref.database, ref.name))


def parse_partition(text: str) -> str:
    """Return `text` when it can be a partition's name, or a glob of some.

    Raises:
        Fault: It can match no name that Milvus allows.
    """
    if not (_PATTERN if _GLOB.search(text) else _NAME).fullmatch(text):
        raise Fault("is not a partition name or pattern that Milvus allows", _PATTERN_HINT)
    return text


def parse_alias(text: str) -> str:
    """Return `text` when it can be an alias.

    Raises:
        Fault: Milvus allows no such alias.
    """
    if not _NAME.fullmatch(text):
        raise Fault("is not an alias that Milvus allows", _NAME_HINT)
    return text
