"""What a run ends with when a rule is broken."""


class Violation(BaseException):
    """A rule was broken; ``checker`` names it. Not an Exception, which the product may catch."""

    def __init__(self, checker, text):
        super().__init__(checker, text)
        self.checker = checker

    def __str__(self):
        return ": ".join(self.args)
