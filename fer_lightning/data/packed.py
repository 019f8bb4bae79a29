"""One packed stream (gzip, bzip2, xz) read as its unpacked bytes, in bounded memory, with its end checked."""

import bz2
import io
import lzma
import zlib
from typing import Any, BinaryIO

from fer_lightning.data.bounds import Budget

CHUNK = 1 << 16

XZ_MEMORY = 128 << 20
"""Bytes an xz dictionary may take: `xz -9` needs 65 MiB; a file can ask for 4 GiB."""

DECODERS = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}


class Unpacked(io.RawIOBase):
    """The unpacked bytes of `packed`, counted against `budget`.

    form: a key of DECODERS. Streams that stand one after the other (`cat a.gz b.gz`) are read as one. Reading raises
    EOFError when the stream is cut off, zlib.error, lzma.LZMAError or OSError when it is damaged, InputError when it
    unpacks to more than the budget allows.
    """

    def __init__(self, packed: BinaryIO, form: str, where: str, budget: Budget):
        self._packed, self._new_decoder, self._where, self._budget = packed, DECODERS[form], where, budget
        self._decoder: Any = self._new_decoder()
        self._packed_bytes = self._unpacked_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the stream reaches; 0 at its end."""
        target, filled = memoryview(buffer).cast("B"), 0
        while filled < len(target) and (data := self._next_input()) is not None:
            unpacked = self._decoder.decompress(data, len(target) - filled)
            target[filled : filled + len(unpacked)] = unpacked
            filled += len(unpacked)
        self._unpacked_bytes += filled
        self._budget.unpacked(self._where, filled, self._unpacked_bytes, self._packed_bytes)
        return filled

    def _next_input(self) -> bytes | None:
        """Packed bytes for the decoder, which may hold enough for more output (then b""); None at the stream's end."""
        if self._decoder.eof:
            following = self._decoder.unused_data.lstrip(b"\0")
            while not following:
                if not (chunk := self._packed_chunk()):
                    return None
                following = chunk.lstrip(b"\0")
            self._decoder = self._new_decoder()
            return following
        if tail := getattr(self._decoder, "unconsumed_tail", b""):
            return tail
        if not getattr(self._decoder, "needs_input", True):
            return b""
        if not (chunk := self._packed_chunk()):
            raise EOFError("the packed stream ends too early")
        return chunk

    def _packed_chunk(self) -> bytes:
        chunk = self._packed.read(CHUNK)
        self._packed_bytes += len(chunk)
        return chunk
