"""Reads the frames of a write-ahead log's segment, and makes new ones: docs/formats/wal.md has the form.

For tests that must know what they damage. Nothing is checked here but what is needed to find the next frame.
"""
import struct
from dataclasses import dataclass

METADATA, ENTRY, STATE, CRC, SNAPSHOT = 1, 2, 3, 4, 5
SECTOR = 512


@dataclass(frozen=True)
class Frame:
    """One record's place in its file. [begin, end) has the length field and the padding in it."""

    begin: int
    end: int
    kind: int
    crc: int  # the running checksum after this record
    index: int = 0  # of an entry


def read_frames(data):
    """The frames up to the first zero length field or the end."""
    frames, at = [], 0
    while at + 8 <= len(data):
        field = struct.unpack_from("<Q", data, at)[0]
        size = field & (1 << 56) - 1
        end = at + 8 + size + (-size) % 8
        if size == 0 or end > len(data):
            break
        fields = dict(read_fields(data[at + 8:at + 8 + size]))
        index = dict(read_fields(fields[3])).get(3, 0) if fields[1] == ENTRY else 0
        frames.append(Frame(at, end, fields[1], fields.get(2, 0), index))
        at = end
    return frames


def read_fields(message):
    """(number, value) of a protobuf message that has varints and bytes only."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        value, at = read_varint(message, at)
        if tag & 7 == 2:
            value, at = message[at:at + value], at + value
        yield tag >> 3, value


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def make_frame(kind, payload, crc_before):
    """The frame that goes on behind a record whose running checksum is `crc_before`."""
    crc = crc32c(payload, crc_before)
    record = b"\x08" + varint(kind) + b"\x10" + varint(crc) + b"\x1a" + varint(len(payload)) + payload
    padding = (-len(record)) % 8
    return struct.pack("<Q", len(record) | ((0x80 | padding) << 56 if padding else 0)) + record + bytes(padding)


def make_entry(term, index, data):
    """A raftpb.Entry of a command."""
    return b"\x08\x00\x10" + varint(term) + b"\x18" + varint(index) + b"\x22" + varint(len(data)) + data


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data, crc=0):
    """Castagnoli's checksum of `data`, going on from `crc`."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
