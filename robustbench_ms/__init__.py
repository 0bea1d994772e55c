"""Does an attention model stay right when the picture gets worse?"""

__version__ = "0.1.0.dev0"
