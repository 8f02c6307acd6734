"""Encode plain values as bytes, and decode bytes without trusting their sender.

Arguments travel to a candidate's functions in this form, and results travel back to its tests.
Unlike `pickle` and `marshal`, `decode` creates plain values only, whatever the bytes are.

The module is also loaded inside the sandbox, so it imports almost nothing.
"""

import struct

TYPE_CHECKING = False  # typing takes 5 ms to import
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 16 * 2**20
"""The longest encoding, in bytes, that is sent or accepted."""

_FLOAT = struct.Struct("<d")
_SIZE = struct.Struct("<I")
_KEYS: "Any" = type({}.keys())
_VALUES: "Any" = type({}.values())


class Opaque:
    """Placeholder for a value that is not plain: it is true, and equal only to itself."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind} object>"


def encode(value: object) -> bytes:
    """Encode a value as bytes.

    None, bool, int, float, complex, str, bytes, range, the built-in containers, Decimal, Fraction
    and deque keep their value. An instance of a subclass of them is encoded as the base type, an
    iterator as an iterator over the same items, and any other value as an `Opaque`.

    Raises:
        ValueError: If the encoding exceeds `MAX_BYTES`, or containers nest too deeply.
    """
    parts: list[bytes] = []
    try:
        _encode(value, parts, [MAX_BYTES])
    except RecursionError:
        raise ValueError("a value nests too deeply") from None
    return b"".join(parts)


def _encode(value: "Any", parts: list[bytes], bytes_left: list[int]) -> None:
    def put(tag: bytes, payload: bytes = b"", size: int | None = None) -> None:
        part = tag if size is None else tag + _SIZE.pack(size)
        bytes_left[0] -= len(part) + len(payload)
        if bytes_left[0] < 0:
            raise ValueError(f"a value is longer than {MAX_BYTES} bytes")
        parts.append(part + payload)

    def put_all(tag: bytes, items: list[object]) -> None:
        put(tag, size=len(items))
        for item in items:
            _encode(item, parts, bytes_left)

    if value is None:
        put(b"N")
    elif isinstance(value, bool):
        put(b"T" if value else b"F")
    elif isinstance(value, int):
        digits = format(int(value), "x").encode()
        put(b"i", digits, len(digits))
    elif isinstance(value, float):
        put(b"f", _FLOAT.pack(value))
    elif isinstance(value, complex):
        put(b"c", _FLOAT.pack(value.real) + _FLOAT.pack(value.imag))
    elif isinstance(value, str):
        text = str.encode(value, "utf-8", "surrogatepass")
        put(b"s", text, len(text))
    elif isinstance(value, (bytes, bytearray)):
        put(b"b", bytes(value), len(value))
    elif isinstance(value, range):
        put_all(b"r", [value.start, value.stop, value.step])
    elif isinstance(value, dict):
        put_all(b"d", [part for pair in dict.items(value) for part in pair])
    elif isinstance(value, list):
        put_all(b"l", list(value))
    elif isinstance(value, tuple):
        put_all(b"t", list(value))
    elif isinstance(value, frozenset):
        put_all(b"z", list(value))
    elif isinstance(value, set):
        put_all(b"S", list(value))
    elif _full_name(value) == "decimal.Decimal":
        put(b"D")
        _encode(str(value), parts, bytes_left)
    elif _full_name(value) == "fractions.Fraction":
        put_all(b"Q", [value.numerator, value.denominator])
    elif _full_name(value) == "collections.deque":
        put_all(b"q", list(value))
    elif isinstance(value, _KEYS):
        put_all(b"k", list(value))
    elif isinstance(value, _VALUES):
        put_all(b"v", list(value))
    elif hasattr(type(value), "__next__"):
        items = []
        for item in value:
            items.append(item)
            if len(items) > MAX_BYTES // 4:
                raise ValueError("an iterator yields too many items")
        put_all(b"I", items)
    else:
        kind = type(value).__name__.encode("utf-8", "replace")[:80]
        put(b"O", kind, len(kind))


def _full_name(value: object) -> str:
    """Return the type's qualified name: unlike `isinstance`, it needs no import of its module."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def decode(data: bytes) -> "Any":
    """Decode a value from the bytes that `encode` made.

    Raises:
        ValueError: If the bytes are not a valid encoding.
    """
    try:
        value, end = _decode(data, 0)
    except (struct.error, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"a malformed value ({type(error).__name__})") from None
    if end != len(data):
        raise ValueError("a malformed value (trailing bytes)")
    return value


def _fraction(items: "list[Any]") -> object:
    from fractions import Fraction

    return Fraction(*items)


def _deque(items: "list[Any]") -> object:
    from collections import deque

    return deque(items)


def _decimal(text: object) -> object:
    from decimal import Decimal

    return Decimal(str(text))


_BUILDERS: "dict[bytes, Any]" = {
    b"l": list,
    b"t": tuple,
    b"z": frozenset,
    b"S": set,
    b"r": lambda items: range(*items),
    b"I": iter,
    b"Q": _fraction,
    b"q": _deque,
    b"k": lambda items: dict.fromkeys(items).keys(),
    b"v": lambda items: dict(enumerate(items)).values(),
    b"d": lambda items: dict(zip(items[::2], items[1::2], strict=True)),
}


def _decode(data: bytes, at: int) -> tuple[object, int]:
    tag, at = data[at : at + 1], at + 1
    if tag == b"N":
        return None, at
    if tag in (b"T", b"F"):
        return tag == b"T", at
    if tag == b"f":
        return _FLOAT.unpack_from(data, at)[0], at + 8
    if tag == b"c":
        return complex(*struct.unpack_from("<dd", data, at)), at + 16
    if tag == b"D":
        text, at = _decode(data, at)
        return _decimal(text), at
    (size,) = _SIZE.unpack_from(data, at)
    at += 4
    build = _BUILDERS.get(tag)
    if build is not None:
        items = []
        for _ in range(size):
            item, at = _decode(data, at)
            items.append(item)
        return build(items), at
    payload, at = data[at : at + size], at + size
    if len(payload) != size:
        raise ValueError("a malformed value (truncated)")
    if tag == b"i":
        return int(payload, 16), at
    if tag == b"s":
        return payload.decode("utf-8", "surrogatepass"), at
    if tag == b"b":
        return payload, at
    if tag == b"O":
        return Opaque(payload.decode("utf-8", "replace")), at
    raise ValueError("a malformed value (unknown tag)")


def frame(data: bytes) -> bytes:
    """Return a message as it is sent over a pipe: its size in four bytes, then the data."""
    return _SIZE.pack(len(data)) + data
