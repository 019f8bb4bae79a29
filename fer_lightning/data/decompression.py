"""Compressed streams and tar headers, read in bounded memory, with damage reported where the library would stop."""

import bz2
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Self

CHUNK = 1 << 16  # bytes read at once
XZ_MEMORY = 128 << 20  # for the dictionary: `xz -9` needs 65 MiB, and a file can ask for 4 GiB
HEADER_BYTES = 1 << 20  # of a tar's extended header: a long name, or pax records

DECODERS = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}


class DecompressedStream(io.RawIOBase):
    """The unpacked bytes of a gzip, bzip2 or xz file; concatenated streams are read as one.

    form: a key of DECODERS. count: called with the number of bytes after each read. Reading raises EOFError when the
    file is cut off, and zlib.error, lzma.LZMAError or OSError when it is damaged.
    """

    def __init__(self, packed: BinaryIO, form: str, count: Callable[[int], None]):
        self._packed, self._new_decoder, self._count = packed, DECODERS[form], count
        self._decoder: Any = self._new_decoder()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the stream reaches; 0 at its end."""
        filled = 0
        while filled < len(buffer) and (data := self._next_input()) is not None:
            unpacked = self._decoder.decompress(data, len(buffer) - filled)
            buffer[filled : filled + len(unpacked)] = unpacked
            filled += len(unpacked)
        self._count(filled)
        return filled

    def _next_input(self) -> bytes | None:
        """Packed bytes for the decoder, or b"" while it holds unpacked ones; None at the end of the last stream."""
        if self._decoder.eof:
            following = self._decoder.unused_data.lstrip(b"\0")  # xz and gzip streams may be padded with zeros
            while not following:
                if not (chunk := self._packed.read(CHUNK)):
                    return None
                following = chunk.lstrip(b"\0")
            self._decoder = self._new_decoder()
            return following
        if tail := getattr(self._decoder, "unconsumed_tail", b""):  # of zlib
            return tail
        if not getattr(self._decoder, "needs_input", True):  # of bz2 and lzma
            return b""
        if not (chunk := self._packed.read(CHUNK)):
            raise EOFError("the packed stream ends too early")
        return chunk


class TarHeader(tarfile.TarInfo):
    """A header that raises ReadError when it is damaged or too large, where `tarfile` would end the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if bytes(buf) == tarfile.NUL * tarfile.BLOCKSIZE:
            return super().frombuf(buf, encoding, errors)  # raises the error that marks the end of an archive
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        is_file = header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if header.size < 0 or (header.size > HEADER_BYTES and not is_file):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes; at most {HEADER_BYTES:,} are read")
        return header
