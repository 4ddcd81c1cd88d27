"""The metrics file, for the textfile collector of Prometheus' node_exporter.

Owns that a reader sees a whole file or the one before. What stands in it comes from elsewhere.
"""

from pathlib import Path

from certwarden.errors import StoreError, clean
from certwarden.files import Content, write_file


class MetricsFile:
    """A file that everybody may read (port Metrics); its directory must be there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        """Makes the file hold exactly the text; raises StoreError."""
        try:
            write_file(self._path, Content(text.encode(), mode=0o644))
        except OSError as error:
            raise StoreError(
                f"the metrics file {self._path} cannot be written: {clean(error.strerror or '?')}",
                "make sure that its directory is there and that certwarden may write to it",
            ) from None
