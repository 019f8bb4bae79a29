"""Jinja environments of the pages that commands write; the templates stand in the package that renders them."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(package: str, autoescape: bool = False) -> Environment:
    """The environment of PACKAGE/templates. An undefined name raises; autoescape: whether what is inserted is HTML."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
