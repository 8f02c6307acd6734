"""Calls between the candidate and its checker, with references to objects that stay where they are.

Each process has one end of a `Link`. An object that `codec` cannot encode as a plain value, such as
an instance of a class that the program defines, or a function that a test passes as an argument,
is sent as a reference and arrives as a `Remote`. What is done to a `Remote` is done to the object,
in the object's process. While one end waits for an answer, it serves the other's requests.

A test never lets the program compare a value: the operators of a `Remote` accept other `Remote`s
only, so that an object whose `__eq__` or `__sub__` is written to cheat cannot equal a plain value.

The module is loaded inside the sandbox, so it imports almost nothing.
"""

import _operator
import builtins

from axolotl_dmt.sandbox import codec

TYPE_CHECKING = False  # typing takes 5 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_REQUEST, _VALUE, _ERROR = b"q", b"v", b"e"
_MAX_TEXT = 200
_UNARY = ("len", "iter", "str", "repr", "bool", "hash", "int", "float")
_BINARY = ("eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod")
_ITEMS = ("getitem", "setitem", "delitem")


class Unusable(Exception):
    """The other process sent bytes that are not an answer."""


class Raised(Exception):
    """Stands for an exception that is not a subclass of one of Python's built-in `Exception`s."""


def _call(function: "Any", *args: object, **kwargs: object) -> object:
    return function(*args, **kwargs)


_OPERATIONS: "dict[str, Callable[..., object]]" = {
    "call": _call,
    "getattr": getattr,
    "setattr": setattr,
    "isinstance": lambda kind, value: isinstance(value, kind),
    **{name: getattr(builtins, name) for name in _UNARY},
    **{name: getattr(_operator, name) for name in (*_BINARY, *_ITEMS)},
}


class Remote:
    """An object of the other process."""

    __slots__ = ("__key", "__link")

    def __init__(self, link: "Link", key: "codec.Key") -> None:
        object.__setattr__(self, "_Remote__link", link)
        object.__setattr__(self, "_Remote__key", key)

    def __call__(self, *args: object, **kwargs: object) -> "Any":
        """Call the object in its process."""
        return self.__link.request("call", self.__key, args, kwargs)

    def __getattr__(self, name: str) -> "Any":
        return self.__link.request("getattr", self.__key, (name,))

    def __setattr__(self, name: str, value: object) -> None:
        self.__link.request("setattr", self.__key, (name, value))

    def __instancecheck__(self, value: object) -> bool:
        if not isinstance(value, Remote):
            return False
        return bool(self.__link.request("isinstance", self.__key, (value,)))


def _method(operation: str, *, operator: bool) -> "Callable[..., object]":
    def method(self: "Any", *args: object) -> object:
        if operator and not isinstance(args[0], Remote):
            return NotImplemented
        return self._Remote__link.request(operation, self._Remote__key, args)

    return method


for _name in (*_UNARY, *_ITEMS):
    setattr(Remote, f"__{_name}__", _method(_name, operator=False))
for _name in _BINARY:
    setattr(Remote, f"__{_name.rstrip('_')}__", _method(_name, operator=True))


class Link:
    """One end of the connection; the two processes derive from it."""

    caught: "type[BaseException]" = BaseException
    """The exceptions of a served request that are sent back."""

    def __init__(self) -> None:
        self._objects: list[object] = []
        self._keys: dict[int, int] = {}
        self._remotes: dict[codec.Key, Remote] = {}

    def send(self, data: bytes) -> None:
        """Send a message to the other end.

        Raises:
            NotImplementedError: If the class does not define the method.
        """
        raise NotImplementedError

    def receive(self) -> bytes:
        """Wait for a message from the other end.

        Raises:
            NotImplementedError: If the class does not define the method.
        """
        raise NotImplementedError

    def named(self, name: str) -> object:
        """Return the object that the other end knows by a name.

        Raises:
            NameError: If there is no such object.
        """
        raise NameError(f"name {name!r} is not defined")

    def permit(self, operation: str, target: object, args: "list[Any]") -> None:
        """Raise an exception if the other end may not do this."""

    def export(self, value: object) -> None:
        """Raise an exception if the other end may not refer to this object."""

    def remote(self, key: "codec.Key") -> Remote:
        """Return the other end's object that has a key or, among its global names, a name."""
        if key not in self._remotes:
            self._remotes[key] = Remote(self, key)
        return self._remotes[key]

    def request(
        self,
        operation: str,
        key: "codec.Key",
        args: tuple[object, ...] = (),
        kwargs: "dict[str, object] | None" = None,
    ) -> "Any":
        """Do something to an object of the other end, and return the result.

        Containers among the arguments receive the changes that the other end made to them.

        Raises:
            Unusable: If the answer is malformed.
        """
        values = [*args, *(kwargs or {}).values()]
        packed = [codec.encode(value, self._refer) for value in values]
        self.send(_REQUEST + codec.encode((operation, key, packed, list(kwargs or {}))))
        while True:
            message = self.receive()
            if message[:1] != _REQUEST:
                break
            self.send(self.serve(message))
        return self.result(message, values)

    def result(self, message: bytes, values: "list[object] | None" = None) -> "Any":
        """Return the value of an answer, or raise its exception.

        Raises:
            Unusable: If the answer is malformed.
        """
        try:
            content = codec.decode(message[1:], self._resolve)
            if message[:1] == _VALUE:
                value, changes = content
                for position, new in changes.items():
                    _update((values or [])[position], new)
                return value
            error = self.failure(*content)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise Unusable from None
        raise error

    def failure(self, kind: str, base: str, text: str, args: tuple[object, ...]) -> BaseException:
        """Return the exception that `describe` described."""
        return _exception(kind, base, text, args)

    def serve(self, message: bytes) -> bytes:
        """Do what a request asks for, and return the answer."""
        try:
            operation, key, packed, names = codec.decode(message[1:])
            target = self.named(key) if isinstance(key, str) else self._objects[key]
            values = [codec.decode(item, self._resolve) for item in packed]
            self.permit(operation, target, values)
            count = len(values) - len(names)
            kwargs = dict(zip(names, values[count:], strict=True))
            before = self._containers(values if operation == "call" else [])
            value = _OPERATIONS[operation](target, *values[:count], **kwargs)
            after = self._containers(values, before)
            changes = {i: values[i] for i in after if after[i] != before[i]}
            return _VALUE + codec.encode((value, changes), self._refer)
        except self.caught as error:
            return describe(error)

    def _containers(self, values: list[object], known: "Any" = None) -> dict[int, bytes]:
        """Return the encodings of the values that can be changed, by position."""
        encodings = {}
        for position, value in enumerate(values):
            if known is not None and position not in known:
                continue
            if isinstance(value, (list, dict, set, tuple)) or hasattr(value, "popleft"):
                try:
                    encodings[position] = codec.encode(value, self._refer, iterators=False)
                except ValueError:  # an iterator, which must not be exhausted here
                    if known is not None:
                        encodings[position] = b""
        return encodings

    def _refer(self, value: object) -> "tuple[bool, codec.Key]":
        if isinstance(value, Remote):
            return False, value._Remote__key
        self.export(value)
        key = self._keys.get(id(value))
        if key is None:
            key = self._keys[id(value)] = len(self._objects)
            self._objects.append(value)
        return True, key

    def _resolve(self, is_senders: bool, key: "codec.Key") -> object:
        if is_senders:
            return self.remote(key)
        try:
            return self.named(key) if isinstance(key, str) else self._objects[key]
        except (LookupError, NameError) as error:
            raise ValueError(f"a malformed value ({error})") from None


def describe(error: BaseException) -> bytes:
    """Return the message that makes the other end raise an exception."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    bases = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")
    content = (type(error).__name__[:80], next(bases, ""), text[:_MAX_TEXT])
    try:
        return _ERROR + codec.encode((*content, tuple(error.args)))
    except ValueError:
        return _ERROR + codec.encode((*content, ()))


def _exception(kind: str, base: str, text: str, args: tuple[object, ...]) -> Exception:
    built_in = getattr(builtins, base, None)
    if not isinstance(built_in, type) or not issubclass(built_in, Exception):
        return Raised(f"{kind}: {text}")
    if kind != base:
        built_in = type(kind, (built_in,), {})
    error: Exception = Raised(f"{kind}: {text}")
    for values in ((text,), args):
        try:
            error = built_in(*values)
        except TypeError:  # UnicodeDecodeError, for one, takes more arguments than a text
            continue
        if str(error)[:_MAX_TEXT] == text and len(args) < 2:
            break
    return error


def _update(old: "Any", new: "Any") -> None:
    """Give a container the content of another, and keep the inner containers that are the same."""
    if isinstance(old, list) and isinstance(new, list):
        old[:] = [_merged(*pair) for pair in zip(old, new, strict=False)] + new[len(old) :]
    elif isinstance(old, dict) and isinstance(new, dict):
        merged = {name: _merged(old.get(name), value) for name, value in new.items()}
        old.clear()
        old.update(merged)
    elif isinstance(old, set) and isinstance(new, set):
        old.clear()
        old.update(new)
    elif isinstance(old, tuple) and isinstance(new, tuple):
        for pair in zip(old, new, strict=False):
            _merged(*pair)
    elif hasattr(old, "popleft") and hasattr(new, "popleft"):
        old.clear()
        old.extend(new)


def _merged(old: object, new: object) -> object:
    if type(old) is not type(new) or not isinstance(old, (list, dict, set)):
        return new
    _update(old, new)
    return old
