"""Independent seeds for each purpose and epoch, derived from the run's one seed."""

import hashlib


def derive_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit seed that depends on all three; equal arguments always give equal seeds.

    Reseeding every epoch makes an epoch's randomness a function of the run's seed and the
    epoch alone, so a run resumed at an epoch's start needs no generator state.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
