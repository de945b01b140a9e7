"""SipHash-1-3 (Aumasson and Bernstein 2012, with one round a word and three at the end), in obvious steps: an oracle.

It knows no throttle. Invariant: the same key and octets give the same number as any other SipHash-1-3.
"""

MASK = 2**64 - 1


def _left(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & MASK


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & MASK
    v2 = (v2 + v3) & MASK
    v1 = _left(v1, 13) ^ v0
    v3 = _left(v3, 16) ^ v2
    v0 = _left(v0, 32)
    v2 = (v2 + v1) & MASK
    v0 = (v0 + v3) & MASK
    v1 = _left(v1, 17) ^ v2
    v3 = _left(v3, 21) ^ v0
    return v0, v1, _left(v2, 32), v3


def siphash13(key: bytes, octets: bytes) -> int:
    """The 64-bit hash of ``octets`` under sixteen octets of ``key``."""
    k0, k1 = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    v = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    padded = octets + bytes(7 - len(octets) % 8) + bytes([len(octets) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v0, v1, v2, v3 = _round(v[0], v[1], v[2], v[3] ^ word)
        v = (v0 ^ word, v1, v2, v3)
    v = (v[0], v[1], v[2] ^ 0xFF, v[3])
    for _ in range(3):
        v = _round(*v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
