"""Models to train: plain PyTorch modules whose checkpoints ``lsrt.convert`` reads. ``pip install lsrt[torch]``.

    from lsrt.torch import LongShortLM
    model = LongShortLM(vocab_size=259, n_layer=4, d_model=256, n_head=4, d_inner=1024, window_len=64, mem_len=512)
    logits, state = model(tokens)           # a block of a stream
    logits, state = model(more, state)      # the next one

``python -m lsrt.torch.train_text`` trains on the bytes of files."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(f"lsrt.torch needs PyTorch: pip install lsrt[torch] ({error})") from None

from .encoder import LongShortEncoder
from .long_short import LongShortLM
from .mamba import MambaLM
from .vil import VisionLongShort

__all__ = ["LongShortEncoder", "LongShortLM", "MambaLM", "VisionLongShort"]
