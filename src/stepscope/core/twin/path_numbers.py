"""Numbers of paths, which grow while more of them come up."""

from array import array

__all__ = ["PathNumbers"]


class PathNumbers:
    """Paths by first appearance: each is a name, in 32 bits, below another path or below a root.

    A root is any number below 0. The path around another one has the lower number.
    """

    def __init__(self) -> None:
        self._arounds = array("q")
        self._names = array("I")
        self._numbers: dict[int, int] = {}  # by both in one: half of what a tuple takes

    def __len__(self) -> int:
        return len(self._arounds)

    def number(self, around: int, name: int, /) -> int:
        """The number of a path, new or known.

        Raises:
            IndexError: there is no path of the number that is around it.
            OverflowError: around is not in 64 bits, or name is not in 32.
        """
        pair = _pair(around, name)
        if around >= 0:
            self._check(around)
        number = self._numbers.setdefault(pair, len(self._arounds))
        if number == len(self._arounds):
            self._arounds.append(around)
            self._names.append(name)
        return number

    def find(self, around: int, name: int, /) -> int | None:
        """The number of a path, if it is known.

        Raises:
            OverflowError: around is not in 64 bits, or name is not in 32.
        """
        return self._numbers.get(_pair(around, name))

    def around(self, number: int, /) -> int:
        """What is around a path: a path or a root.

        Raises:
            IndexError: there is no such path.
        """
        self._check(number)
        return self._arounds[number]

    def name(self, number: int, /) -> int:
        """The name of a path.

        Raises:
            IndexError: there is no such path.
        """
        self._check(number)
        return self._names[number]

    def arounds(self) -> "array[int]":
        """What is around each path: array 'q'."""
        return self._arounds[:]

    def number_all(self, around: "array[int]", name: "array[int]", roots: "array[int]", /) -> "array[int]":
        """The numbers of paths that refer to each other, new or known.

        Args:
            around: array 'q', of each the place here of the one around it, which stands before it; or -1 - a place
                among roots.
            name: array 'I'; of the same length.
            roots: array 'q', what is around those: known paths, or roots.

        Returns:
            An array 'I' of that length.

        Raises:
            ValueError: around has no such place; no path has been numbered then.
            IndexError: there is no path of a number among roots.
        """
        for root in roots:
            if root >= 0:
                self._check(root)
        for at, outer in enumerate(around):
            if outer >= at:
                message = f"path {at}: around it is {outer}, which does not stand before it"
                raise ValueError(message)
            if -1 - outer >= len(roots):
                message = f"path {at}: its root is {-1 - outer}: there are {len(roots)}"
                raise ValueError(message)
        found = array("I")
        for outer, last in zip(around, name, strict=True):
            found.append(self.number(found[outer] if outer >= 0 else roots[-1 - outer], last))
        return found

    def _check(self, number: int) -> None:
        if not 0 <= number < len(self._arounds):
            message = f"there is no path {number}: there are {len(self._arounds)}"
            raise IndexError(message)


def _pair(around: int, name: int) -> int:
    if not (-(1 << 63) <= around < 1 << 63 and 0 <= name < 1 << 32):
        message = f"{name} around {around}: a name has 32 bits, and what is around it 64"
        raise OverflowError(message)
    return around << 32 | name
