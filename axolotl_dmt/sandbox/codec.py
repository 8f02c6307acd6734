"""Encode values as bytes, and decode bytes without trusting their sender.

Arguments travel to a candidate's functions in this form, and results travel back to its tests.
Unlike `pickle` and `marshal`, `decode` creates plain values only, whatever the bytes are. An object
that is not plain stays in its process; a reference to it travels instead (see `remote`).

The module is also loaded inside the sandbox, so it imports almost nothing.
"""

import builtins
import struct

TYPE_CHECKING = False  # typing takes 5 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Key = int | str
    Refer = Callable[[object], tuple[bool, Key]]
    Resolve = Callable[[bool, Key], object]

MAX_BYTES = 16 * 2**20
"""The longest encoding, in bytes, that is sent or accepted."""

_FLOAT = struct.Struct("<d")
_SIZE = struct.Struct("<I")
_KEYS: "Any" = type({}.keys())
_VALUES: "Any" = type({}.values())
_TYPES = {
    name: item
    for name, item in vars(builtins).items()
    if isinstance(item, type) and name == item.__name__ and name not in ("type", "super")
} | {"NoneType": type(None)}
"""The built-in classes, which travel by name."""


def encode(value: object, refer: "Refer | None" = None, *, iterators: bool = True) -> bytes:
    """Encode a value as bytes.

    None, bool, int, float, complex, str, bytes, range, the built-in containers, Decimal, Fraction,
    deque and the built-in classes keep their value. An instance of a subclass of them is encoded as
    the base type, and an iterator as an iterator over the same items.

    Args:
        value: The value.
        refer: Returns, for a value that is not plain, whether it belongs to the sender, and the key
            under which its owner finds it. If None, such values are refused.
        iterators: Whether iterators may be encoded, which exhausts them.

    Raises:
        ValueError: If the encoding exceeds `MAX_BYTES`, containers nest too deeply, or a value is
            refused.
    """
    parts: list[bytes] = []
    try:
        _encode(value, parts, [MAX_BYTES], refer, iterators)
    except RecursionError:
        raise ValueError("a value nests too deeply") from None
    return b"".join(parts)


def _encode(
    value: "Any",
    parts: list[bytes],
    bytes_left: list[int],
    refer: "Refer | None",
    iterators: bool,
) -> None:
    def put(tag: bytes, payload: bytes = b"", size: int | None = None) -> None:
        part = tag if size is None else tag + _SIZE.pack(size)
        bytes_left[0] -= len(part) + len(payload)
        if bytes_left[0] < 0:
            raise ValueError(f"a value is longer than {MAX_BYTES} bytes")
        parts.append(part + payload)

    def put_all(tag: bytes, items: list[object]) -> None:
        put(tag, size=len(items))
        for item in items:
            _encode(item, parts, bytes_left, refer, iterators)

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
        _encode(str(value), parts, bytes_left, refer, iterators)
    elif _full_name(value) == "fractions.Fraction":
        put_all(b"Q", [value.numerator, value.denominator])
    elif _full_name(value) == "collections.deque":
        put_all(b"q", list(value))
    elif isinstance(value, _KEYS):
        put_all(b"k", list(value))
    elif isinstance(value, _VALUES):
        put_all(b"v", list(value))
    elif type(value) is type and _TYPES.get(value.__name__) is value:
        text = value.__name__.encode()
        put(b"Y", text, len(text))
    elif hasattr(type(value), "__next__"):
        if not iterators:
            raise ValueError("an iterator is refused")
        items = []
        for item in value:
            items.append(item)
            if len(items) > MAX_BYTES // 4:
                raise ValueError("an iterator yields too many items")
        put_all(b"I", items)
    elif refer is None:
        raise ValueError(f"a value of type {type(value).__name__[:80]} is not plain")
    else:
        is_senders, key = refer(value)
        put(b"m" if is_senders else b"y")
        _encode(key, parts, bytes_left, None, False)


def _full_name(value: object) -> str:
    """Return the type's qualified name: unlike `isinstance`, it needs no import of its module."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def decode(data: bytes, resolve: "Resolve | None" = None) -> "Any":
    """Decode a value from the bytes that `encode` made.

    Args:
        data: The bytes.
        resolve: Returns the object of a reference: it takes whether the object belongs to the
            sender, and its key. If None, references are malformed.

    Raises:
        ValueError: If the bytes are not a valid encoding.
    """
    try:
        value, end = _decode(data, 0, resolve)
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


def _decode(data: bytes, at: int, resolve: "Resolve | None") -> tuple[object, int]:
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
        text, at = _decode(data, at, None)
        return _decimal(text), at
    if tag in (b"m", b"y") and resolve is not None:
        key, at = _decode(data, at, None)
        if not isinstance(key, (int, str)):
            raise ValueError("a malformed value (a key)")
        return resolve(tag == b"m", key), at
    (size,) = _SIZE.unpack_from(data, at)
    at += 4
    build = _BUILDERS.get(tag)
    if build is not None:
        items = []
        for _ in range(size):
            item, at = _decode(data, at, resolve)
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
    if tag == b"Y" and payload.decode("utf-8", "replace") in _TYPES:
        return _TYPES[payload.decode()], at
    raise ValueError("a malformed value (unknown tag)")


def frame(data: bytes) -> bytes:
    """Return a message as it is sent over a pipe: its size in four bytes, then the data."""
    return _SIZE.pack(len(data)) + data
