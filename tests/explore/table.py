"""Values as small numbers, the same number for equal values."""


class Table:
    """What was ever numbered. Numbers begin at 1."""

    def __init__(self):
        self._numbers = {}
        self._values = [None]

    def number(self, value):
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self._values)
            self._values.append(value)
        return number

    def __getitem__(self, number):
        return self._values[number]

    def __len__(self):
        return len(self._values) - 1
