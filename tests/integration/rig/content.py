"""Files whose every byte is known without reading them again."""
import hashlib
import os
import pathlib
import random
import shutil

BLOCK = 1 << 20
SECTOR = 512
STATE = pathlib.Path(os.environ.get("SLUICE_TEST_STATE", "/var/tmp/sluice-tests"))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Pattern:
    """An endless sequence of bytes that differs between seeds and between any two places.

    A block of pseudo-random bytes is repeated; the first four bytes of each sector carry the number of the
    block, so that bytes from a wrong place cannot pass for the right ones.
    """

    def __init__(self, seed):
        self._base = random.Random(f"pattern {seed}").randbytes(BLOCK)

    def block(self, number):
        block = bytearray(self._base)
        for place in range(4):
            block[place::SECTOR] = bytes([number >> (8 * place) & 0xFF]) * (BLOCK // SECTOR)
        return block

    def read(self, offset, length):
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        if length <= 0:
            return b""
        whole = b"".join(self.block(number) for number in range(first, last + 1))
        start = offset - first * BLOCK
        return whole[start:start + length]

    def matches(self, offset, data):
        """Whether data is what stands at offset."""
        position = 0
        while position < len(data):
            number, start = divmod(offset + position, BLOCK)
            count = min(BLOCK - start, len(data) - position)
            if self.block(number)[start:start + count] != data[position:position + count]:
                return False
            position += count
        return True

    def sha256(self, length):
        digest = hashlib.sha256()
        for number in range((length + BLOCK - 1) // BLOCK):
            digest.update(memoryview(self.block(number))[:length - number * BLOCK])
        return digest.hexdigest()

    def write(self, path, length):
        with open(path, "wb", buffering=0) as file:
            for number in range((length + BLOCK - 1) // BLOCK):
                file.write(memoryview(self.block(number))[:length - number * BLOCK])


def cached_file(seed, length):
    """A file of a Pattern that later runs find again. Not sparse."""
    STATE.mkdir(parents=True, exist_ok=True)
    path = STATE / f"pattern-{seed}-{length}"
    if not path.exists() or path.stat().st_size != length:
        if shutil.disk_usage(STATE).free < length + (1 << 30):
            return None
        fresh = STATE / f"{path.name}.{os.getpid()}"
        Pattern(seed).write(fresh, length)
        fresh.rename(path)
    return path
