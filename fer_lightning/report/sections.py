"""The sections of the report, in order."""

from fer_lightning.report.blocks import Section
from fer_lightning.report.book import Book
from fer_lightning.report.comparisons import curve_section, gain_section, hybrid_section
from fer_lightning.report.confusions import confusion_section
from fer_lightning.report.results import results
from fer_lightning.report.searched import search_section
from fer_lightning.report.seen import activation_section, dream_section, filter_section, look_section


def sections(book: Book) -> list[Section]:
    """Everything that the poster shows, and what else these runs hold."""
    return [
        results(book),
        curve_section(book),
        gain_section(book),
        hybrid_section(book),
        confusion_section(book),
        search_section(book.found.searches),
        filter_section(book),
        activation_section(book),
        dream_section(book),
        look_section(book),
    ]
