"""Finds its way in an LMDB 0.9 file, as far as a test must know what it damages.

Source: LMDB 0.9.24 mdb.c, struct MDB_page, MDB_meta and MDB_node: 4 KiB pages; two meta pages at the front; a page that
holds nodes has their places behind its header of 16 bytes.
"""
import struct

PAGE_BYTES = 4096
PAGE_HEADER_BYTES = 16
META_BYTES = 136  # behind the page header: magic, version, address, map size, two roots, last page, transaction
NODE_HEADER_BYTES = 8
BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8


def page_count(data):
    return len(data) // PAGE_BYTES


def page_kind(data, page):
    """BRANCH, LEAF, OVERFLOW, META, or 0 for what has never been a page or is the inside of a long value."""
    number, _, flags = struct.unpack_from("<QHH", data, page * PAGE_BYTES)
    kind = flags & 0xF
    return kind if number == page and kind in (BRANCH, LEAF, OVERFLOW, META) else 0


def node_places(data, page):
    """Where the nodes of a branch or leaf page begin in the file."""
    begin = page * PAGE_BYTES
    lower = struct.unpack_from("<H", data, begin + 12)[0]
    count = (lower - PAGE_HEADER_BYTES) // 2
    return [begin + place for place in struct.unpack_from(f"<{count}H", data, begin + PAGE_HEADER_BYTES)]
