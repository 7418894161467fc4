"""What can be wrong with a file of prices, or with where it should go."""


class HistoryRefused(Exception):
    """Nothing was written; the message says why and what would be right."""


class UnreadableHistory(HistoryRefused):
    """A file is no price history: what was found, and what would be right."""


class UnknownFormat(HistoryRefused):
    """A file's name says no form that can be written."""


class AnotherImport(HistoryRefused):
    """Somebody else is importing into this database; wait for it, then try again."""
